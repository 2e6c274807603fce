import { describe, expect, it } from "vitest";
import { decide } from "../../../src/decision/decide.ts";
import { explain, type ExplainRecord, replay } from "../../../src/explain/record.ts";
import { ExplainRing } from "../../../src/explain/ring.ts";
import { CACHE_AWARE } from "../../../src/decision/profiles.ts";
import type { RecordBatch } from "../../../src/explain/record-batch.ts";
import { candidate, request, viewOf } from "../decision/views.ts";

const few = viewOf([candidate(0), candidate(1)]);
const many = viewOf(
  Array.from({ length: 64 }, (_, slot) => candidate(slot, { cachedTokens: slot * 16, queuedPrefillMs: slot / 3, inFlight: slot % 5 })),
);
const ofFew = decide(few, request(100), CACHE_AWARE, 0, 0);
const ofMany = decide(many, request(100), CACHE_AWARE, 0, 0);

function record(id: string, tenant = "t", { attempt = 1, atMs = 5, large = false } = {}): ExplainRecord {
  const [view, decision] = large ? [many, ofMany] : [few, ofFew];
  const asked = { view, request: request(100), profile: CACHE_AWARE, draw: 0, turn: 0, decision };
  return explain({ id, attempt, tenant, decidedAtMs: atMs, ...asked });
}

const idsOf = (ring: ExplainRing, tenant: string): string[] => [...ring.lastOf(tenant)].map(({ id }) => id);
const finds = (ring: ExplainRing, tenant: string, prefix: string, count: number): number =>
  Array.from({ length: count }, (_, n) => ring.attempts(`${prefix}${n}`, tenant)).filter((attempts) => attempts.length === 1).length;

/** As workers/objects/decision-store.ts has them: rows overwritten in a ring. */
class Rows {
  readonly rows = new Map<number, RecordBatch>();
  written = 0;
  readonly #slots: number;
  readonly #rowBytes: number;

  constructor(slots = 32, rowBytes = 1_000_000) {
    this.#slots = slots;
    this.#rowBytes = rowBytes;
  }

  flush(ring: ExplainRing): void {
    for (let owed = ring.unwritten; owed > 0;) {
      const slot = this.written % this.#slots;
      const batch = ring.batch(slot, this.#rowBytes);
      if (batch === null) return;
      this.rows.delete(slot);
      this.rows.set(slot, { heads: batch.heads, views: batch.views });
      this.written++;
      ring.written(slot, batch);
      owed -= batch.fresh;
    }
  }

  read(limits: ConstructorParameters<typeof ExplainRing>[0] = {}): ExplainRing {
    const ring = new ExplainRing(limits);
    ring.restore([...this.rows].map(([row, batch]) => ({ row, batch })));
    return ring;
  }
}

describe("a request's attempts", () => {
  it("are found by number, the last without one, and only by their own tenant as records", () => {
    const ring = new ExplainRing();
    ring.add(record("a"));
    ring.add(record("a", "t", { attempt: 2 }));
    expect([ring.get("a")?.attempt, ring.get("a", 1)?.attempt, ring.get("a", 3), ring.get("b")]).toEqual([2, 1, undefined, undefined]);
    expect(ring.attempts("a", "t").map(({ attempt }) => attempt)).toEqual([1, 2]);
    expect(ring.attempts("a", "other")).toEqual([]);
    expect([ring.complete("a", 1, { ttftMs: 12 }), ring.complete("a", 3, { ttftMs: 12 })]).toEqual([true, false]);
    expect(ring.attempts("a", "t")[0]?.outcome).toMatchObject({ ttftMs: 12, ended: null });
  });
});

describe("a tenant's last hundred decisions", () => {
  it("are all there after half a minute of another's 650 requests a second, and in storage too", () => {
    const [ring, rows] = [new ExplainRing(), new Rows()];
    for (let n = 0; n < 100; n++) ring.add(record(`quiet${n}`, "quiet", { atMs: n, large: true }));
    for (let n = 0; n < 100; n++) ring.complete(`quiet${n}`, 1, { ended: "settled" });
    for (let n = 0; n < 30 * 650; n++) {
      ring.add(record(`flood${n}`, "flood", { atMs: 100 + n, large: true }));
      // Each runs for 10 s.
      ring.complete(`flood${n - 6_500}`, 1, { ttftMs: 40, ended: "settled" });
      if (n % 6_500 === 0) rows.flush(ring);
    }
    rows.flush(ring);
    for (const kept of [ring, rows.read()]) {
      expect(finds(kept, "quiet", "quiet", 100)).toBe(100);
      expect(idsOf(kept, "quiet")).toEqual(Array.from({ length: 100 }, (_, n) => `quiet${99 - n}`));
      expect(idsOf(kept, "flood").slice(0, 100)).toEqual(Array.from({ length: 100 }, (_, n) => `flood${30 * 650 - 1 - n}`));
      const ended = [...kept.lastOf("flood")].filter(({ outcome }) => outcome.ended !== null);
      expect(ended.length).toBeGreaterThanOrEqual(100);
      expect(ended.every(({ outcome }) => outcome.ttftMs === 40)).toBe(true);
    }
    expect(replay(ring.attempts("quiet7", "quiet")[0] ?? record("")).reason).toBe(ofMany.reason);
  });

  it("stay while twenty tenants share the room", () => {
    const ring = new ExplainRing();
    for (let n = 0; n < 20 * 300; n++) {
      ring.add(record(`${n % 20}.${Math.floor(n / 20)}`, `tenant${n % 20}`, { large: true }));
      ring.complete(`${n % 20}.${Math.floor(n / 20)}`, 1, { ended: "settled" });
    }
    for (let tenant = 0; tenant < 20; tenant++)
      for (let n = 200; n < 300; n++) expect(ring.attempts(`${tenant}.${n}`, `tenant${tenant}`)).toHaveLength(1);
  });
});

describe("a request that runs", () => {
  it("is known until it ends, whatever others decide meanwhile", () => {
    const ring = new ExplainRing({ records: 200 });
    for (let n = 0; n < 1_000; n++) ring.add(record(`long${n}`, "busy"));
    for (let n = 0; n < 5_000; n++) {
      ring.add(record(`short${n}`, "busy"));
      ring.complete(`short${n}`, 1, { ended: "settled" });
    }
    for (let n = 0; n < 1_000; n++) expect(ring.get(`long${n}`, 1)).toMatchObject({ decidedAtMs: 5, request: { promptBytes: 400 } });
    expect(ring.complete("long999", 1, { ended: "settled" })).toBe(true);
  });

  it("is completed in its record where that is kept", () => {
    const [ring, rows] = [new ExplainRing(), new Rows()];
    ring.add(record("a"));
    rows.flush(ring);
    expect(ring.unwritten).toBe(0);
    ring.complete("a", 1, { cachedTokens: 64, ttftMs: 12 });
    expect(ring.unwritten).toBe(1);
    rows.flush(ring);
    expect(rows.read().attempts("a", "t")).toMatchObject([{ outcome: { cachedTokens: 64, ttftMs: 12, ended: null } }]);
  });
});

describe("the ring's bounds", () => {
  it.each([{ large: true }, { large: false }])("hold for 25,000 decisions that never end, of 64 replicas or two (%o)", ({ large }) => {
    const ring = new ExplainRing();
    for (let n = 0; n < 25_000; n++) {
      ring.add(record(`r${n}`, `tenant${n % 300}`, { large }));
      if (n % 1_000 !== 0) continue;
      expect(ring.size).toBeLessThanOrEqual(8_192);
      expect(ring.bytes).toBeLessThanOrEqual(16 * 1024 * 1024);
    }
    const known = Array.from({ length: 25_000 }, (_, n) => ring.get(`r${n}`)).filter((one) => one !== undefined);
    expect(known.length).toBeLessThanOrEqual(8_192 + ring.size);
  });

  it("forget the tenant that decided longest ago when there are too many", () => {
    const ring = new ExplainRing({ tenants: 2 });
    ring.add(record("a", "one"));
    ring.add(record("b", "two"));
    ring.add(record("c", "one"));
    ring.add(record("d", "three"));
    expect([idsOf(ring, "one"), idsOf(ring, "two"), idsOf(ring, "three")]).toEqual([["c", "a"], [], ["d"]]);
    expect(ring.get("b")?.attempt).toBe(1);
  });
});

describe("rows", () => {
  it("hold many records each, and what is kept of an overwritten one moves to the next", () => {
    const [ring, rows] = [new ExplainRing({ records: 1_000 }), new Rows(40, 60_000)];
    for (let n = 0; n < 3_000; n++) {
      ring.add(record(`r${n}`, n % 30 === 0 ? "seldom" : "often", { atMs: n }));
      ring.complete(`r${n}`, 1, { ended: "settled" });
      if (n % 64 === 63) rows.flush(ring);
    }
    rows.flush(ring);
    const back = rows.read({ records: 1_000 });
    expect(idsOf(back, "seldom")).toEqual(idsOf(ring, "seldom"));
    expect(idsOf(back, "seldom")).toHaveLength(100);
    for (const row of rows.rows.values()) expect(row.heads.length + row.views.length).toBeLessThanOrEqual(61_000);
  });
});
