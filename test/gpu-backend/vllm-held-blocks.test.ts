/** Which blocks a vLLM engine holds, on which tiers, after its events. */
import { describe, expect, test } from "vitest";
import { HeldBlocks } from "../../gpu-backend/engine/vllm/held-blocks.ts";
import type { KvEvent, StoredBlocks } from "../../gpu-backend/engine/vllm/kv-events.ts";
import { TIER } from "../../src/residency/tiers.ts";

describe("held blocks", () => {
  const stored = (changes: Partial<StoredBlocks> = {}): StoredBlocks => ({
    type: "stored",
    keys: ["a" as never],
    parent: null,
    tokens: null,
    blockTokens: null,
    tier: TIER.device,
    group: 0,
    isPrefix: true,
    adapter: null,
    extraKeys: null,
    ...changes,
  });
  const removed = (tier: number, group = 0): KvEvent => ({ type: "removed", keys: ["a" as never], tier, group });

  test("lie on several tiers, and one that comes back is held again", () => {
    const held = new HeldBlocks();
    expect(held.apply(stored())).toEqual([{ key: "a", tierBits: TIER.device }]);
    expect(held.apply(stored())).toEqual([]);
    expect(held.apply(stored({ tier: TIER.host }))).toEqual([{ key: "a", tierBits: TIER.device | TIER.host }]);
    expect(held.apply(removed(TIER.device))).toEqual([{ key: "a", tierBits: TIER.host }]);
    expect(held.apply(removed(TIER.host))).toEqual([{ key: "a", tierBits: 0 }]);
    expect([held.size, held.apply(removed(TIER.host))]).toEqual([0, []]);
    expect(held.apply(stored())).toEqual([{ key: "a", tierBits: TIER.device }]);
    expect(held.apply({ type: "cleared" })).toEqual([{ key: "a", tierBits: 0 }]);
  });

  test("stay on a lower tier until the last piece of them has left it", () => {
    const held = new HeldBlocks();
    for (const _ of [1, 2]) held.apply(stored({ tier: TIER.host }));
    expect(held.apply(removed(TIER.host))).toEqual([]);
    expect(held.apply(removed(TIER.host))).toEqual([{ key: "a", tierBits: 0 }]);
  });

  test("do not come from groups of a sliding window, nor leave with them", () => {
    const held = new HeldBlocks();
    expect(held.apply(stored({ group: 1, isPrefix: false }))).toEqual([]);
    held.apply(stored());
    expect(held.apply(removed(TIER.device, 1))).toEqual([]);
    expect(held.bitsOf("a" as never)).toBe(TIER.device);
  });

  test("have a bound, and what found no room is counted", () => {
    const held = new HeldBlocks(2);
    held.apply(stored({ keys: ["a", "b", "c"] as never[] }));
    expect([held.size, held.leftOut, held.bitsOf("c" as never)]).toEqual([2, 1, 0]);
  });
});
