/** An engine in another process says late where tokens end, and which blocks it holds: the prompt's segments are announced all the same. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { EngineKey, EngineKv } from "../../gpu-backend/engine/engine.ts";
import { HeldSegments } from "../../gpu-backend/held-segments.ts";
import { BLOCKS_WITHIN_MS, endInterestOf, onceKnown } from "../../gpu-backend/late-ends.ts";
import { TIER } from "../../src/residency/tiers.ts";

const KEY = "k" as EngineKey;
const outside = { onResidency: () => undefined, exchange: null } satisfies EngineKv;
const anchors = [{ hash: 7n, key: KEY, tokens: 16 }];

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("a block that the engine reports after its run has ended is announced, and one that never comes is forgotten in time", () => {
  const announced: bigint[] = [];
  const held = new HeldSegments(({ hash }) => announced.push(hash));
  endInterestOf(outside, held.anchor(anchors));
  vi.advanceTimersByTime(BLOCKS_WITHIN_MS - 1);
  held.blockChanged(KEY, TIER.device, TIER.device);
  expect(announced).toEqual([7n]);
  held.blockChanged(KEY, TIER.device, 0);
  vi.advanceTimersByTime(1);
  held.blockChanged(KEY, TIER.device, TIER.device);
  expect(announced).toEqual([7n, 7n]);
});

test("an interest that has ended before its anchors are known ends when they are", async () => {
  const steps: string[] = [];
  const known = Promise.withResolvers<Uint32Array | null>();
  const end = onceKnown(known.promise, (ends) => {
    steps.push(`anchored ${ends?.length ?? "nothing"}`);
    return () => steps.push("ended");
  });
  end();
  expect(steps).toEqual([]);
  known.resolve(new Uint32Array(3));
  await known.promise;
  await Promise.resolve();
  expect(steps).toEqual(["anchored 3", "ended"]);
  onceKnown(new Uint32Array(2), (ends) => {
    steps.push(`anchored ${ends?.length ?? "nothing"}`);
    return () => steps.push("ended at once");
  })();
  expect(steps.slice(2)).toEqual(["anchored 2", "ended at once"]);
});
