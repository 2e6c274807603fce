import fc from "fast-check";
import { expect, it } from "vitest";
import { parseFromReplica } from "../../../src/wire/control.ts";
import { LeaseFrame, leaseFrameOf } from "../../../src/wire/lease-frame.ts";

const step = { id: "req_default_0123456789abcdef0123456789abcdef", attempt: 1 };
const transfer = { kind: "pull", replica: "one", outcome: "fallback", why: "it was gone", bytes: 4_096, ms: 2.5, tokens: 64 };
const decoding = {
  event: "decoding",
  ...step,
  promptTokens: 500,
  cachedTokens: 400,
  prefillMs: 12.5,
  loadedTokens: 64,
  loadMs: 1,
  transfer,
};
const settled = { event: "settled", ...step, reason: "stop", promptTokens: 5, cachedTokens: 4, outputTokens: 3, prefillMs: 2, decodeMs: 1 };
const REPORTS = [{ event: "started", ...step }, decoding, settled, { event: "refused", ...step }];

/** Values at the edges of what some field takes. */
const words = [null, true, "", "stop", "used", "prefill", "started", "leases", "wrong name", "a".repeat(64), "a".repeat(65)];
const lengths = ["a".repeat(128), "a".repeat(129), "a".repeat(200), "a".repeat(201)];
const numbers = [-1, -0, 0, 0.5, 1, 64, 65, 2 ** 32 - 1, 2 ** 32, 2 ** 53, 1e308, Infinity];
const edges = fc.constantFrom<unknown>(...words, ...lengths, ...numbers, [], {}, [0], transfer);

type Path = readonly (string | number)[];

function pathsIn(value: unknown, from: Path = []): Path[] {
  if (typeof value !== "object" || value === null) return [from];
  return [from, ...Object.entries(value).flatMap(([key, each]) => pathsIn(each, [...from, key]))];
}

/** A copy of `value` that has `to` at the path; no such field where `to` is undefined. */
function changed(value: unknown, path: Path, to: unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined || typeof value !== "object" || value === null) return to;
  const copy = (Array.isArray(value) ? [...(value as unknown[])] : { ...value }) as Record<string | number, unknown>;
  if (rest.length === 0 && to === undefined) delete copy[key];
  else copy[key] = changed(copy[key], rest, to);
  return copy;
}

const frames = fc
  .array(fc.constantFrom(...REPORTS), { minLength: 1, maxLength: 3 })
  .map((reports) => ({ type: "leases", reports }))
  .chain((frame) => {
    const change = fc.tuple(fc.constantFrom(...pathsIn(frame)), fc.oneof(edges, fc.constant(undefined), fc.jsonValue()));
    return fc
      .array(change, { maxLength: 3 })
      .map((changes) => changes.reduce<unknown>((made, [path, to]) => changed(made, path, to), frame));
  })
  .map((frame) => JSON.stringify(frame) ?? "null");

it("a lease frame checked by hand is what the schema makes of it, or none where the schema refuses it", () => {
  let [taken, refused] = [0, 0];
  fc.assert(
    fc.property(frames, (text) => {
      const value: unknown = JSON.parse(text);
      const parsed = LeaseFrame.safeParse(value);
      if (parsed.success) taken++;
      else refused++;
      expect(leaseFrameOf(value)).toEqual(parsed.success ? parsed.data : null);
    }),
    { numRuns: 5_000 },
  );
  expect(Math.min(taken, refused)).toBeGreaterThan(500);
});

it("every report's every field is refused at each value that the schema refuses there, and only there", () => {
  const frame = { type: "leases", reports: REPORTS };
  const values = fc.sample(edges, { numRuns: 500, seed: 1 });
  for (const path of pathsIn(frame)) {
    for (const to of [undefined, ...new Set(values)]) {
      const value: unknown = JSON.parse(JSON.stringify(changed(frame, path, to)) ?? "null");
      const parsed = LeaseFrame.safeParse(value);
      expect(leaseFrameOf(value), `${path.join(".")} = ${String(JSON.stringify(to)).slice(0, 40)}`).toEqual(
        parsed.success ? parsed.data : null,
      );
    }
  }
});

it("a frame has at most 4,096 reports", () => {
  const frame = (count: number) => ({ type: "leases", reports: Array.from({ length: count }, () => ({ event: "started", ...step })) });
  expect([leaseFrameOf(frame(4_096))?.reports.length, leaseFrameOf(frame(4_097))]).toEqual([4_096, null]);
});

it("a refused frame is told in the schema's words", () => {
  const wrong = { type: "leases", reports: [{ event: "started", ...step, attempt: 0 }] };
  expect(parseFromReplica(JSON.stringify(wrong))).toEqual({ ok: false, why: "reports.0.attempt: Too small: expected number to be >=1" });
});
