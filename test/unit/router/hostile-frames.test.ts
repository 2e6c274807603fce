/** Whatever one replica says, within the protocol, the others serve as they would without it. */
import type { LeaseReport } from "../../../src/pool/frames.ts";
import fc from "fast-check";
import { expect, it } from "vitest";
import { type Job, ModelPool, type ModelReplica } from "./model-pool.ts";

const model = (name: string, prefillMsPerToken = 0.2): ModelReplica => ({ name, prefillMsPerToken, decodeMsPerToken: 2 });
const RUNS = process.env["WARMPATH_FULL"] === undefined ? 150 : 5_000;
const JOBS = 40;

const wild = fc.oneof(
  fc.constantFrom(0, 1, Infinity, 1.7e308, 5e-324, 0.001, 3_600_000, 3_600_001, 4_294_967_295, -1),
  fc.double({ min: 0, max: 4e9, noNaN: true }),
);
/** Its own leases in the order they came, those of others, and ones that nobody has. */
const whose = fc.nat(2 * JOBS);
const frame = fc.oneof(
  fc.record({ kind: fc.constantFrom("started", "refused"), whose }),
  fc.record({ kind: fc.constant("decoding"), whose, numbers: fc.array(wild, { minLength: 8, maxLength: 8 }), moved: fc.boolean() }),
  fc.record({ kind: fc.constant("settled"), whose, numbers: fc.array(wild, { minLength: 8, maxLength: 8 }) }),
  fc.record({ kind: fc.constant("heartbeat"), whose, numbers: fc.array(wild, { minLength: 3, maxLength: 3 }) }),
  fc.record({ kind: fc.constant("residency"), whose, numbers: fc.array(wild, { minLength: 2, maxLength: 2 }) }),
  fc.record({ kind: fc.constant("hello"), whose }),
);
type Frame = { kind: string; whose: number; numbers?: number[]; moved?: boolean };

/** `said`: by a third replica that computes nothing; null: there is none. */
function run(said: readonly (Frame & { atMs: number })[] | null): { made: ModelPool; jobs: Job[] } {
  const made = new ModelPool([model("r0"), model("r1")]);
  made.teach();
  if (said !== null) made.join(model("liar", 1e9));
  const jobs = Array.from({ length: JOBS }, (_, n): Job => ({ id: `j${n}`, promptTokens: 500, outputTokens: 5 }));
  for (const [n, job] of jobs.entries()) made.at(made.nowMs + n * 60, () => made.ask(job));
  for (const each of said ?? []) made.at(made.nowMs + each.atMs, () => hear(made, each));
  made.pass(30_000);
  return { made, jobs };
}

function hear(made: ModelPool, { kind, whose: n, numbers = [], moved }: Frame): void {
  const { pool, state, nowMs } = made;
  const liar = state.named("liar");
  if (liar === undefined) return;
  const { slot, epoch, connection } = liar;
  const own = [...state.leases.leasesOf(slot)];
  const { id, attempt } = own[n] ?? { id: `j${n}`, attempt: 1 };
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = numbers;
  const transfer = { kind: "pull", replica: "r0", outcome: "used", bytes: 1, ms: e, tokens: f } as const;
  const usage = { promptTokens: a, cachedTokens: b };
  const steps: Record<string, LeaseReport> = {
    started: { event: "started", id, attempt },
    refused: { event: "refused", id, attempt },
    decoding: {
      event: "decoding",
      id,
      attempt,
      ...usage,
      prefillMs: c,
      loadMs: d,
      loadedTokens: e,
      ...(moved === true ? { transfer } : {}),
    },
    settled: { event: "settled", id, attempt, ...usage, outputTokens: c, decodeMs: d },
  };
  const step = steps[kind];
  if (step !== undefined) made.carryOut(pool.leaseReports(slot, [step], nowMs));
  const running = Array.from({ length: 500 }, (_, m) => ({ id: `j${n + m}`, attempt: 1, outputTokens: a }));
  const beat = { seq: Math.floor(b), entries: Math.floor(c), load: { usedKvTokens: 0 }, running };
  if (kind === "heartbeat") made.carryOut(pool.heartbeat(slot, epoch, beat, nowMs));
  const hello = { ...liar, model: "m", specFingerprint: "v1" };
  if (kind === "hello") made.carryOut(pool.hello({ hello, connection: connection ?? -1, admitted: true, running, seq: 0 }, nowMs));
  const entries = [{ hash: BigInt(n + 1), tokens: Math.min(4_294_967_295, Math.max(0, Math.floor(a))), tierBits: 1 }];
  const update = { kind: "full", first: true, last: true, seq: n, entries } as const;
  if (kind === "residency") made.carryOut(pool.residency(slot, update, nowMs));
}

const meanTtftMs = (jobs: readonly Job[]): number =>
  jobs.reduce((sum, { firstTokenAtMs = Infinity, askedAtMs = 0 }) => sum + firstTokenAtMs - askedAtMs, 0) / Math.max(1, jobs.length);

it("after any frames of one replica the others serve within twice the time that they take without it", () => {
  const aloneMs = meanTtftMs(run(null).jobs);
  fc.assert(
    fc.property(fc.array(fc.tuple(frame, fc.nat(3_000)), { maxLength: 40 }), (frames) => {
      const { made, jobs } = run(frames.map(([each, atMs]) => ({ ...(each as Frame), atMs })));
      const others = jobs.filter(({ answer }) => answer?.type === "replica" && answer.replica !== "liar");
      expect(jobs.map(({ answer }) => answer?.type)).toEqual(jobs.map(() => "replica"));
      expect(others.length).toBeGreaterThan(JOBS / 4);
      expect(meanTtftMs(others)).toBeLessThanOrEqual(2 * aloneMs);
      for (const { slot } of made.replicas.values())
        for (const rate of Object.values(made.state.rates.of(slot))) expect(Number.isFinite(rate)).toBe(true);
      expect(made.state.leases.count(0) + made.state.leases.count(1)).toBe(0);
    }),
    { seed: 67, numRuns: RUNS },
  );
}, 120_000);
