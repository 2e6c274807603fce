import type { ResidencyEntry } from "../../src/pool/frames.ts";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { EngineKey } from "../../gpu-backend/engine/engine.ts";
import { type Anchor, HeldSegments } from "../../gpu-backend/held-segments.ts";

const keyOf = (name: number): EngineKey => String(name) as EngineKey;

function listen(): { held: HeldSegments; announced: Map<bigint, number>; log: ResidencyEntry[] } {
  const announced = new Map<bigint, number>();
  const log: ResidencyEntry[] = [];
  const held = new HeldSegments((entry) => {
    log.push(entry);
    if (entry.tierBits === 0) announced.delete(entry.hash);
    else announced.set(entry.hash, entry.tierBits);
  });
  return { held, announced, log };
}

test("a segment is announced when its block is held and withdrawn when it is not", () => {
  const { held, log } = listen();
  held.anchor([{ hash: 1n, key: keyOf(1), tokens: 40 }]);
  held.blockChanged(keyOf(1), 1, 1);
  held.blockChanged(keyOf(1), 1, 0);
  expect(log).toEqual([
    { hash: 1n, tokens: 40, tierBits: 1 },
    { hash: 1n, tokens: 0, tierBits: 0 },
  ]);
});

test("a block held before its anchor was known is announced with the anchor", () => {
  const { held, announced } = listen();
  held.blockChanged(keyOf(1), 1, 1);
  held.anchor([{ hash: 1n, key: keyOf(1), tokens: 40 }]);
  expect(announced).toEqual(new Map([[1n, 1]]));
});

test("a segment of two blocks is held until both are gone", () => {
  const { held, announced } = listen();
  held.anchor([{ hash: 1n, key: keyOf(1), tokens: 40 }]);
  held.anchor([{ hash: 1n, key: keyOf(2), tokens: 40 }]);
  held.blockChanged(keyOf(1), 1, 1);
  held.blockChanged(keyOf(2), 1, 1);
  held.blockChanged(keyOf(1), 1, 0);
  expect(announced.size).toBe(1);
  held.blockChanged(keyOf(2), 1, 0);
  expect(announced.size).toBe(0);
});

test("what was announced is exactly the segments of held blocks, whatever comes in whatever order", () => {
  const step = fc.oneof(
    fc.record({ type: fc.constant("anchor" as const), hashes: fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 5 }) }),
    fc.record({ type: fc.constant("block" as const), key: fc.nat(5), bit: fc.constantFrom(1, 2, 4), held: fc.boolean() }),
    fc.record({ type: fc.constant("end" as const) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { held, announced } = listen();
      const holding = new Map<number, number>();
      const ends: (() => void)[] = [];
      for (const one of steps) {
        if (one.type === "anchor") {
          // As in life, a segment's block is a function of what the prompt is; here two segments a block.
          const anchors = one.hashes.map((hash): Anchor => ({ hash: BigInt(hash), key: keyOf(hash >> 1), tokens: hash * 10 }));
          ends.push(held.anchor(anchors));
        } else if (one.type === "block") {
          held.blockChanged(keyOf(one.key), one.bit, one.held ? one.bit : 0);
          const before = holding.get(one.key) ?? 0;
          holding.set(one.key, one.held ? before | one.bit : before & ~one.bit);
        } else ends.shift()?.();
        expect(new Map([...held.entries()].map(({ hash, tierBits }) => [hash, tierBits]))).toEqual(announced);
        for (const [hash, tierBits] of announced) expect(holding.get(Number(hash) >> 1)).toBe(tierBits);
      }
    }),
  );
});

test("a segment is announced with the tiers of its block, and a cleared tier is withdrawn", () => {
  const { held, log } = listen();
  held.anchor([{ hash: 1n, key: keyOf(1), tokens: 40 }]);
  held.blockChanged(keyOf(1), 1, 1);
  held.blockChanged(keyOf(1), 2, 2);
  held.tierCleared(1);
  held.blockChanged(keyOf(1), 2, 0);
  expect(log.map(({ tierBits }) => tierBits)).toEqual([1, 3, 2, 0]);
});

test("blocks on the device are counted once each, whatever else changes, and none is left when the device is cleared", () => {
  const { held } = listen();
  held.blockChanged(keyOf(1), 1, 1);
  held.blockChanged(keyOf(1), 1, 1);
  held.blockChanged(keyOf(2), 14, 2);
  held.blockChanged(keyOf(2), 1, 1);
  held.blockChanged(keyOf(2), 14, 6);
  expect(held.deviceBlocks).toBe(2);
  held.blockChanged(keyOf(1), 1, 0);
  expect(held.deviceBlocks).toBe(1);
  held.tierCleared(1);
  held.blockChanged(keyOf(2), 14, 0);
  expect(held.deviceBlocks).toBe(0);
});
