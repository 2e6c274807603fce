import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MOST_TOUCHED, PART_BYTES, PART_FULL } from "../../../src/residency/part.ts";
import type { SegmentIndex } from "../../../src/residency/segment-index.ts";
import { TIER } from "../../../src/residency/tiers.ts";
import { createSegmentIndex } from "../../../src/residency/typed-array-index.ts";
import { hashes } from "./hashes.ts";

function fill(index: SegmentIndex, chain: BigUint64Array, replica: number): void {
  for (const [at, hash] of chain.entries()) index.set(hash, replica, TIER.device, at + 1);
}

describe("growing", () => {
  it("splits parts and finds everything afterwards", () => {
    const index = createSegmentIndex();
    const chain = hashes(200_000, 1);
    fill(index, chain, 5);
    expect(index.size).toBe(200_000);
    expect(index.count(5)).toBe(200_000);
    expect(index.bytes / PART_BYTES).toBeLessThanOrEqual(8);
    expect(index.evicted).toBe(0);
    let missing = 0;
    for (const hash of chain) if (index.tiersOf(hash, 5) !== TIER.device) missing++;
    expect(missing).toBe(0);
    expect(index.overlap(chain.subarray(0, 60_000)).segments[5]).toBe(60_000);
    expect(index.forgetReplica(5)).toBe(200_000);
    expect(index.bytes).toBe(PART_BYTES);
  });

  it("survives hashes that all begin alike: one part cannot split them, so it evicts", () => {
    const index = createSegmentIndex({ maxParts: 40 });
    const chain = hashes(70_000, 2).map((hash) => hash & 0xffffffffn);
    fill(index, chain, 0);
    expect(index.bytes).toBe(PART_BYTES);
    expect(index.size).toBeLessThanOrEqual(PART_FULL);
    expect(index.size + index.evicted).toBe(new Set(chain).size);
  });
});

describe("room", () => {
  it("is there for as many entries as it says, or nearly, before anything is thrown out", () => {
    const index = createSegmentIndex({ maxParts: 3 });
    fill(index, hashes(Math.floor(index.places * 0.95), 1), 0);
    expect(index.evicted).toBe(0);
    fill(index, hashes(30_000, 2), 1);
    expect(index.size).toBeGreaterThan(index.places * 0.95);
    expect(index.bytes).toBe(3 * PART_BYTES);
  });
});

describe("eviction", () => {
  it("stays within its parts and gives up the least recently touched first", () => {
    const index = createSegmentIndex({ maxParts: 1 });
    const old = hashes(20_000, 3);
    const used = hashes(20_000, 4);
    index.tick(1);
    fill(index, old, 0);
    fill(index, used, 1);
    index.tick(2);
    index.overlap(used);
    fill(index, hashes(25_000, 5), 2);
    expect(index.bytes).toBe(PART_BYTES);
    expect(index.count(1)).toBe(20_000);
    expect(index.count(2)).toBe(25_000);
    expect(index.count(0)).toBe(20_000 - index.evicted);
    expect(index.evicted).toBeGreaterThan(0);
  });

  it("of one age gives up the deepest: what is left of a chain has no gap", () => {
    const index = createSegmentIndex({ maxParts: 1 });
    const chain = hashes(50_000, 6);
    fill(index, chain, 0);
    index.tick(1);
    fill(index, hashes(4_000, 7), 1);
    expect(index.evicted).toBe(2_048);
    expect(index.overlap(chain).segments[0]).toBe(50_000 - 2_048);
  });

  it("of one age and depth gives up no more than have to go", () => {
    const index = createSegmentIndex({ maxParts: 1 });
    for (const hash of hashes(80_000, 3)) index.set(hash, 0, TIER.device, 64);
    expect(index.places).toBe(PART_FULL);
    expect(index.size + index.evicted).toBe(80_000);
    expect(index.size).toBeGreaterThan(index.places * 0.95);
  });

  it("keeps what was used later, however long ago both were used", () => {
    const chains = [17_475, 17_475, 17_475, 10_000].map((count, replica) => hashes(count, 20 + replica));
    const gap = fc.oneof(fc.integer({ min: 1, max: 100_000 }), fc.constantFrom(65_535, 65_536, 65_537, MOST_TOUCHED, 2 ** 31));
    const property = fc.property(gap, gap, fc.integer({ min: 0, max: 2_000_000_000 }), (between, after, start) => {
      const index = createSegmentIndex({ maxParts: 1 });
      const seconds = [start, start + between, start + between + after];
      for (const [replica, chain] of chains.entries()) {
        index.tick(seconds[replica] ?? start + between + after);
        fill(index, chain, replica);
      }
      expect([1, 2, 3].map((replica) => index.count(replica))).toEqual([17_475, 17_475, 10_000]);
      expect(index.count(0)).toBe(17_475 - index.evicted);
    });
    fc.assert(property, { seed: 10, numRuns: 4, examples: [[65_000, 1_000, 0]] });
  });

  it("goes on with a clock that was set back", () => {
    const index = createSegmentIndex({ maxParts: 1 });
    index.tick(10_000);
    fill(index, hashes(25_000, 8), 0);
    index.tick(6_400);
    index.tick(6_401);
    fill(index, hashes(25_000, 9), 1);
    fill(index, hashes(20_000, 10), 2);
    expect(index.count(1)).toBe(25_000);
    expect(index.count(0)).toBe(25_000 - index.evicted);
  });
});
