import { expect, it } from "vitest";
import { type PoolsWorld, simulatePools } from "../../../simulator/pools.ts";

/** Small enough for a test. */
const WORLD: PoolsWorld = {
  pools: 8,
  edges: 4,
  requestsPerSecond: 500,
  seconds: 12,
  warmUpSeconds: 8,
  decisionsPerSecond: 1_000,
  replicasPerPool: 2,
  prefillMsPerToken: 0.05,
  cacheSegments: 20_000,
  heads: 200,
  goesOn: 0.7,
  rttMs: 5,
};

function dice(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

it("sends prompts to where they are known, without flooding a pool", () => {
  const chosen = simulatePools(WORLD, "choosePool", dice(1));
  const any = simulatePools(WORLD, "any pool", dice(1));
  expect(chosen.foundShare).toBeGreaterThan(0.9);
  expect(any.foundShare).toBeLessThan(0.75);
  expect(chosen.meanTtftMs).toBeLessThan(any.meanTtftMs);
  expect(chosen.busiest).toBeLessThan(3);
});

it("gives the same for the same draws", () => {
  expect(simulatePools({ ...WORLD, seconds: 9 }, "choosePool", dice(2))).toEqual(
    simulatePools({ ...WORLD, seconds: 9 }, "choosePool", dice(2)),
  );
});
