import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type CheckpointPosition, IndexCheckpoint, type JournalRow } from "../../../src/residency/checkpoint.ts";
import { MAX_REPLICAS, PAGES, type StorableIndex } from "../../../src/residency/segment-index.ts";
import { TIER } from "../../../src/residency/tiers.ts";
import { createStorableIndex } from "../../../src/residency/typed-array-index.ts";
import { hashes } from "./hashes.ts";

/** Rows as a store would keep them. */
class Rows {
  readonly pages = new Map<number, Uint8Array>();
  journal: JournalRow[] = [];
  position: CheckpointPosition | null = null;
  bytes = 0;

  flush(checkpoint: IndexCheckpoint): void {
    checkpoint.flush(({ journal, pages, position, oldest }) => {
      this.journal = [...this.journal, ...journal].filter(({ number }) => number >= oldest);
      for (const { page, data } of pages) this.pages.set(page, data);
      for (const { data } of [...journal, ...pages]) this.bytes += data.byteLength;
      this.position = JSON.parse(JSON.stringify(position)) as CheckpointPosition;
    });
  }

  load(): { index: StorableIndex; checkpoint: IndexCheckpoint; fits: boolean } {
    const index = createStorableIndex({ maxParts: 2 });
    const checkpoint = new IndexCheckpoint(index);
    const fits = checkpoint.load(this.position, this.pageRows(), this.journal);
    return { index, checkpoint, fits };
  }

  pageRows(): { page: number; data: Uint8Array }[] {
    return [...this.pages].map(([page, data]) => ({ page, data }));
  }
}

/** Everything but the ages. */
function content(index: StorableIndex): string[] {
  const lines: string[] = [];
  for (let replica = 0; replica < MAX_REPLICAS; replica++) {
    if (index.count(replica) === 0) continue;
    for (const { hash, tierBits, tokens } of index.entries(replica)) lines.push(`${replica} ${hash} ${tierBits} ${tokens}`);
  }
  return lines.toSorted((left, right) => left.localeCompare(right));
}

const few = hashes(300, 40);
const place = fc.record({ nth: fc.nat(few.length - 1), replica: fc.nat(2) });
const step = fc.oneof(
  {
    weight: 20,
    arbitrary: fc.record({ kind: fc.constant("set" as const), at: place, tierBits: fc.integer({ min: 0, max: 15 }), many: fc.nat(60) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("forget" as const), replica: fc.nat(2) }) },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("flush" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("tick" as const), seconds: fc.nat() }) },
);

describe("a checkpoint", () => {
  it("has after a restart just what the index had at the last flush, whatever happens", () => {
    const property = fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const rows = new Rows();
      let index = createStorableIndex({ maxParts: 2 });
      let checkpoint = new IndexCheckpoint(index);
      for (const one of steps) {
        if (one.kind === "tick") index.tick(one.seconds);
        else if (one.kind === "forget") index.forgetReplica(one.replica);
        else if (one.kind === "set") {
          for (let more = 0; more <= one.many; more++)
            index.set(few[(one.at.nth + more) % few.length] ?? 1n, one.at.replica, one.tierBits, more);
        } else {
          rows.flush(checkpoint);
          const loaded = rows.load();
          expect(loaded.fits).toBe(true);
          expect(content(loaded.index)).toEqual(content(index));
          expect(loaded.checkpoint.pendingBytes).toBe(0);
          if (one.kind === "restart") ({ index, checkpoint } = loaded);
        }
      }
    });
    fc.assert(property, { seed: 11, numRuns: 60 });
  });

  it("keeps what was thrown out for lack of room thrown out, and ages", () => {
    const rows = new Rows();
    const index = createStorableIndex({ maxParts: 1 });
    const checkpoint = new IndexCheckpoint(index);
    const [old, young] = [hashes(30_000, 41), hashes(22_000, 42)];
    index.tick(1_000_000);
    for (const hash of old) index.set(hash, 0, TIER.device, 1);
    rows.flush(checkpoint);
    index.tick(1_000_500);
    for (const hash of young) index.set(hash, 1, TIER.disk, 2);
    for (const hash of hashes(1_000, 43)) index.set(hash, 2, TIER.disk, 2);
    rows.flush(checkpoint);
    expect(index.evicted).toBeGreaterThan(0);
    const back = createStorableIndex({ maxParts: 1 });
    expect(new IndexCheckpoint(back).load(rows.position, rows.pageRows(), rows.journal)).toBe(true);
    expect([0, 1, 2].map((replica) => back.count(replica))).toEqual([0, 1, 2].map((replica) => index.count(replica)));
    back.tick(1_000_600);
    for (const hash of hashes(5_000, 44)) back.set(hash, 3, TIER.device, 1);
    expect([back.count(1), back.count(2), back.count(3)]).toEqual([22_000, 1_000, 5_000]);
    expect(back.count(0)).toBe(index.count(0) - back.evicted);
  });

  it("writes only what changed, and its journal stays short", () => {
    const rows = new Rows();
    const index = createStorableIndex();
    const checkpoint = new IndexCheckpoint(index);
    const held = hashes(60_000, 45);
    for (const hash of held) index.set(hash, 0, TIER.device, 64);
    rows.flush(checkpoint);
    let changed = 0;
    const before = rows.bytes;
    for (let flush = 0; flush < 600; flush++) {
      for (let nth = 0; nth < 50; nth++) index.set(held[(flush * 50 + nth) % held.length] ?? 1n, 0, 1 + (flush % 15), 64);
      changed += 50 * 16;
      rows.flush(checkpoint);
      expect(rows.journal.length).toBeLessThanOrEqual(257);
    }
    // All pages twice, at most, beside the changes themselves.
    expect(rows.bytes - before).toBeLessThan(2 * changed + 3 * 60_000 * 16);
    expect(content(rows.load().index)).toEqual(content(index));
  });

  it("is tried again whole when it could not be written", () => {
    const rows = new Rows();
    const index = createStorableIndex();
    const checkpoint = new IndexCheckpoint(index);
    index.set(7n, 1, TIER.device, 64);
    expect(() =>
      checkpoint.flush(() => {
        throw new Error("the disk is full");
      }),
    ).toThrow("the disk is full");
    rows.flush(checkpoint);
    expect(content(rows.load().index)).toEqual(content(index));
  });

  it("keeps what waits within a bound while nothing can be written, and has it all once it can", () => {
    const index = createStorableIndex({ maxParts: 2 });
    const checkpoint = new IndexCheckpoint(index);
    const rows = new Rows();
    for (const hash of few) index.set(hash, 1, TIER.device, 5);
    rows.flush(checkpoint);
    for (let round = 0; round < 1_000; round++) {
      for (const [nth, hash] of few.entries()) index.set(hash, nth % 3, (round + nth) % 16, round);
      checkpoint.condense();
      expect(checkpoint.pendingBytes).toBeLessThan(3 * few.length * 3 * 16 + 1_048_576);
    }
    rows.flush(checkpoint);
    const { index: loaded, fits } = rows.load();
    expect(fits).toBe(true);
    expect(content(loaded)).toEqual(content(index));
  });

  it("is void when its rows do not fit together", () => {
    const rows = new Rows();
    const index = createStorableIndex();
    const checkpoint = new IndexCheckpoint(index);
    for (let flush = 0; flush < 200; flush++) {
      for (const hash of hashes(40, 100 + flush)) index.set(hash, 0, TIER.device, 64);
      rows.flush(checkpoint);
    }
    const { position, journal } = rows;
    const pages = rows.pageRows();
    if (position === null) throw new Error("nothing was stored");
    expect(pages.length).toBeGreaterThan(PAGES / 2);
    const other = createStorableIndex();
    const fits = (...[at, from, rest]: Parameters<IndexCheckpoint["load"]>): boolean => {
      const does = new IndexCheckpoint(other).load(at, from, rest);
      expect(other.size).toBe(does ? index.size : 0);
      return does;
    };
    expect(fits(position, pages, journal)).toBe(true);
    expect(fits(position, pages.slice(1), journal)).toBe(false);
    expect(fits(position, pages, journal.slice(1))).toBe(false);
    expect(fits(position, pages, journal.slice(0, -1))).toBe(false);
    const tornRow = journal.map((row, nth) => (nth === 1 ? { ...row, data: row.data.subarray(0, -16) } : row));
    expect(fits(position, pages, tornRow)).toBe(false);
    expect(fits({ ...position, version: 1 }, pages, journal)).toBe(false);
    expect(fits({ ...position, stamps: position.stamps.slice(1) }, pages, journal)).toBe(false);
    expect(fits({ ...position, ages: { now: -1, seconds: 0, era: 0 } }, pages, journal)).toBe(false);
    for (const bad of [null, undefined, 7, "{}", {}, []]) expect(fits(bad, pages, journal)).toBe(false);
    const swapped = pages.map(({ data }, nth) => ({ page: pages[(nth + 1) % pages.length]?.page ?? 0, data }));
    expect(fits(position, swapped, journal)).toBe(false);
    const cut = pages.map(({ page, data }) => ({ page, data: data.subarray(16) }));
    expect(fits(position, cut, journal)).toBe(false);
    const torn = pages.map(({ page, data }) => ({ page, data: data.subarray(0, -3) }));
    expect(fits(position, torn, journal)).toBe(false);
  });
});
