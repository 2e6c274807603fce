import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compactView, expandView } from "../../../src/explain/compact-view.ts";
import { decide } from "../../../src/decision/decide.ts";
import { type CompactRecord, encodedOfRow, encodeRecord, explain, replay, rowOf } from "../../../src/explain/record.ts";
import { packView } from "../../../src/explain/packed-view.ts";
import { CACHE_AWARE, PROFILES } from "../../../src/decision/profiles.ts";
import { batchOf, recordsOf } from "../../../src/explain/record-batch.ts";
import { recordOf } from "./records.ts";
import { anyDraw, anyRequest, anyView, candidate, request, viewOf } from "../decision/views.ts";

const compact = (record: ReturnType<typeof explain>): CompactRecord => ({ ...record, view: compactView(record.view) });

/** As JSON has it, which knows no -0. */
const asTold = (record: CompactRecord): unknown => JSON.parse(JSON.stringify(encodedOfRow(rowOf(record))));

describe("a compact view", () => {
  it("has every number of the view exactly, whatever it is", () => {
    const numbers = fc.oneof(fc.nat(255), fc.nat(70_000), fc.nat(), fc.double(), fc.constantFrom(2 ** 32 - 1, 2 ** 32, -1, NaN, Infinity));
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 5 }),
        fc.nat(6),
        fc.infiniteStream(numbers),
        fc.infiniteStream(fc.boolean()),
        (rows, columns, some, bits) => {
          const flags = (): boolean[] => Array.from({ length: rows }, () => bits.next().value);
          const names = Array.from({ length: rows }, (_, row) => `r${row}`);
          const may = { eligible: flags(), prefills: flags(), transfers: flags(), decodeOnly: flags() };
          const packed = Float64Array.from({ length: rows * columns }, () => some.next().value + 0);
          const view = {
            names,
            ...may,
            numbers: packed,
            columns: rows === 0 ? 0 : columns,
            meanOutputTokens: 1.5,
            remotePrefillTokens: null,
          };
          const twin = { ...view, numbers: packed.map((number) => (number === 0 ? 0 : number)) };
          expect(expandView(compactView(view))).toEqual(twin);
        },
      ),
      { seed: 24, numRuns: 500 },
    );
  });

  it("is less than half of the view for 64 replicas in use", () => {
    const busy = (slot: number) => ({
      cachedTokens: slot * 512,
      queuedPrefillMs: slot / 3,
      inFlight: slot % 9,
      liveKvTokens: slot * 3_001,
    });
    const view = packView(viewOf(Array.from({ length: 64 }, (_, slot) => candidate(slot, busy(slot)))));
    expect(compactView(view).bytes.length).toBeLessThan(view.numbers.byteLength / 2);
  });
});

describe("a batch", () => {
  it("has its records again, and they decide the same", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(anyView, anyRequest, fc.constantFrom(...Object.values(PROFILES)), anyDraw, fc.nat()), { maxLength: 5 }),
        (all) => {
          const records = all.map(([view, asked, profile, draw, turn], n) => {
            const decision = decide(view, asked, profile, draw, turn);
            return explain({ id: `r${n}`, attempt: 1, tenant: "t", decidedAtMs: n, view, request: asked, profile, draw, turn, decision });
          });
          const again = recordsOf(batchOf(records.map(compact), Infinity));
          expect(again.map((record) => replay({ ...record, view: expandView(record.view) }).reason)).toEqual(
            records.map((record) => record.decision.reason),
          );
          expect(again.map(asTold)).toEqual(records.map(compact).map(asTold));
        },
      ),
      { seed: 25, numRuns: 200 },
    );
  });

  it("takes what has room, and one in any case", () => {
    const record = compact(recordOf(viewOf([candidate(0)]), request(100)));
    const some = Array.from({ length: 50 }, () => record);
    const { count, heads, views } = batchOf(some, 20_000);
    expect(count).toBeGreaterThan(5);
    expect(count).toBeLessThan(50);
    expect(heads.length + views.length).toBeLessThanOrEqual(20_000 + 100);
    expect(batchOf(some, 1).count).toBe(1);
  });

  it("counts bytes and not characters", () => {
    const record = compact(recordOf(viewOf([candidate(0)]), request(100)));
    const some = Array.from({ length: 200 }, (_, n) => ({ ...record, id: String(n), tenant: "租户".repeat(100) }));
    const { heads, views } = batchOf(some, 50_000);
    expect(Buffer.byteLength(heads) + views.length).toBeLessThanOrEqual(50_000 + 100);
  });

  it("has names and profiles once", () => {
    const record = compact(recordOf(viewOf([candidate(0)]), request(100)));
    const { heads } = batchOf([record, record, record], Infinity);
    expect(heads.split('replica-0"]')).toHaveLength(2);
    expect(heads.split('"weights"')).toHaveLength(2);
  });

  it("in another layout is passed over", () => {
    const { heads, views } = batchOf([compact(recordOf(viewOf([candidate(0)]), request(100)))], Infinity);
    expect(recordsOf({ heads: heads.replace('"format":1', '"format":2'), views })).toEqual([]);
  });
});

it("a record on its way to the edge is the JSON twin of the record", () => {
  const record = recordOf(
    viewOf([candidate(0), candidate(1, { queuedPrefillMs: 0.1 })]),
    request(100),
    { ttftMs: 3 },
    { profile: CACHE_AWARE },
  );
  expect(encodedOfRow(rowOf(compact(record)))).toEqual(encodeRecord(record));
});
