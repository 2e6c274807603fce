/** 10,000 requests a second over pool objects that decide 1,000 each. Writes test/bench/results/pools.json. `node test/bench/pools.ts` */
import { type PoolPolicy, type PoolsResult, type PoolsWorld, simulatePools } from "../../simulator/pools.ts";
import { writeResult } from "./result.ts";

const WORLD: Omit<PoolsWorld, "pools" | "requestsPerSecond"> = {
  edges: 8,
  seconds: 20,
  warmUpSeconds: 12,
  decisionsPerSecond: 1_000,
  replicasPerPool: 12,
  prefillMsPerToken: 0.05,
  cacheSegments: 80_000,
  heads: 2_000,
  goesOn: 0.7,
  rttMs: 5,
};

/** Mulberry32. */
function dice(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const CASES: readonly [requestsPerSecond: number, pools: number, policy: PoolPolicy][] = [
  [700, 1, "one object"],

  [10_000, 1, "one object"],
  [10_000, 16, "any pool"],
  [10_000, 16, "home of the head"],
  [10_000, 16, "choosePool"],
  [5_000, 8, "choosePool"],
  [10_000, 13, "choosePool"],
  [10_000, 20, "choosePool"],
];

/** Nothing was tuned on these. */
const SEEDS = [2_026, 2_027, 2_028];

const rows: (PoolsResult & { requestsPerSecond: number; seed: number })[] = [];
for (const [requestsPerSecond, pools, policy] of CASES)
  for (const seed of SEEDS) {
    const startedMs = performance.now();
    rows.push({ requestsPerSecond, seed, ...simulatePools({ ...WORLD, requestsPerSecond, pools }, policy, dice(seed)) });
    process.stderr.write(`${policy}, ${pools} pools, ${requestsPerSecond}/s: ${((performance.now() - startedMs) / 1_000).toFixed(1)} s\n`);
  }
console.table(rows);
process.stdout.write(`${writeResult("pools", { ...WORLD, seeds: SEEDS }, rows)}\n`);
