import { describe, expect, it } from "vitest";
import { PART_BYTES, PART_FULL } from "../../../src/residency/part.ts";
import { TIER, type SegmentIndex } from "../../../src/residency/segment-index.ts";
import { createSegmentIndex, restoreSegmentIndex } from "../../../src/residency/typed-array-index.ts";
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
    expect(index.size).toBeLessThanOrEqual(PART_FULL);
    expect(index.size + index.evicted).toBe(new Set(chain).size);
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
    expect(index.evicted).toBe(4_096);
    expect(index.overlap(chain).segments[0]).toBe(50_000 - 4_096);
  });

  it("takes ages modulo 65,536 ticks", () => {
    const index = createSegmentIndex({ maxParts: 1 });
    index.tick(65_535);
    fill(index, hashes(30_000, 8), 0);
    index.tick(65_537);
    fill(index, hashes(25_000, 9), 1);
    expect(index.count(1)).toBe(25_000);
  });
});

describe("checkpoint", () => {
  it("comes back from rows, dirty parts only, over several rounds", () => {
    const rows = new Map<number, Uint8Array>();
    const index = createSegmentIndex();
    let directory = "";
    const store = (): number => {
      const checkpoint = index.checkpoint();
      directory = checkpoint.directory;
      for (const part of checkpoint.parts) rows.set(part.id, part.data);
      index.clean();
      return checkpoint.parts.length;
    };
    const chain = hashes(150_000, 10);
    fill(index, chain, 1);
    expect(store()).toBe(index.bytes / PART_BYTES);
    expect(store()).toBe(0);
    index.overlap(chain.subarray(0, 100));
    index.set(chain[0] ?? 1n, 1, TIER.device, 1);
    expect(store()).toBe(0);
    index.set(chain[0] ?? 1n, 1, TIER.host, 1);
    expect(store()).toBe(1);
    const back = restoreSegmentIndex(
      {},
      directory,
      [...rows].map(([id, data]) => ({ id, data })),
    );
    expect(back?.size).toBe(index.size);
    expect(back?.count(1)).toBe(150_000);
    expect(back?.tiersOf(chain[0] ?? 1n, 1)).toBe(TIER.host);
    expect(back?.overlap(chain.subarray(0, 60_000)).segments[1]).toBe(60_000);
    expect(back?.dirtyParts()).toEqual([]);
    back?.set(99n, 2, TIER.device, 4);
    expect(back?.dirtyParts()).toHaveLength(1);
  });

  it("refuses what does not fit together", () => {
    const index = createSegmentIndex();
    fill(index, hashes(60_000, 11), 0);
    const { directory, parts } = index.checkpoint();
    expect(parts).toHaveLength(2);
    expect(restoreSegmentIndex({}, directory, parts.slice(1))).toBeNull();
    expect(restoreSegmentIndex({ maxParts: 1 }, directory, parts)).toBeNull();
    expect(restoreSegmentIndex({}, "[]", parts)).toBeNull();
    expect(restoreSegmentIndex({}, "{", parts)).toBeNull();
    expect(restoreSegmentIndex({}, '{"version":1,"parts":[[0,1,0]]}', parts)).toBeNull();
    expect(restoreSegmentIndex({}, '{"version":1,"parts":[[0,1,1],[1,1,0]]}', parts)).toBeNull();
    const short = parts.map(({ id, data }) => ({ id, data: data.subarray(16) }));
    expect(restoreSegmentIndex({}, directory, short)).toBeNull();
    const overfull = parts.map(({ id, data }) => ({ id, data: new Uint8Array(data.length).fill(255) }));
    expect(restoreSegmentIndex({}, directory, overfull)).toBeNull();
    expect(index.load("{", parts)).toBe(false);
    expect(index.size).toBe(0);
  });
});
