import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PATIENCE_MS } from "../../../src/router/request-view.ts";
import { type Job, ModelPool, type ModelReplica } from "./model-pool.ts";
import { dice } from "../decision/views.ts";

const replica = (name: string, more: Partial<ModelReplica> = {}): ModelReplica => ({
  name,
  prefillMsPerToken: 0.1,
  decodeMsPerToken: 5,
  ...more,
});
const FULL = process.env["WARMPATH_FULL"] !== undefined;

/** A step of 500 tokens: the hold is 100 ms. */
const STEPS = { capacity: { stepTokens: 500 } };

function pool(models: readonly ModelReplica[]): ModelPool {
  const made = new ModelPool(models);
  made.teach();
  return made;
}

describe("late binding", () => {
  it("sends what will soon start and keeps the rest, so that a newcomer gets it", () => {
    const made = pool([replica("r0", STEPS)]);
    const jobs = [0, 1, 2, 3].map((n): Job => ({ id: `j${n}`, promptTokens: 800, outputTokens: 10 }));
    for (const job of jobs) made.ask(job);
    // W is 80 after the first and 160 after the second: the hold is 100.
    expect(jobs.map(({ answer }) => answer?.type)).toEqual(["replica", "replica", undefined, undefined]);
    made.join(replica("r1", STEPS));
    expect(jobs.slice(2).map(({ answer }) => (answer?.type === "replica" ? answer.replica : null))).toEqual(["r1", "r1"]);
  });

  it("lets nobody wait whose prompt is longer than any context by its bytes: its replica says so at once", () => {
    const made = pool([replica("r0", { capacity: { stepTokens: 500, queueLimit: 20 } })]);
    const jobs = [0, 1, 2, 3].map((n): Job => ({ id: `j${n}`, promptTokens: 800, outputTokens: 10 }));
    const tooLong: Job = { id: "too long", promptTokens: 40_000, outputTokens: 10 };
    for (const job of [...jobs, tooLong]) made.ask(job);
    expect([...jobs, tooLong].map(({ answer }) => answer?.type)).toEqual(["replica", "replica", undefined, undefined, "replica"]);
  });

  it("lets nobody wait who may be too long by the bytes of unusual text, before any prompt was counted", () => {
    const made = new ModelPool([replica("r0", { capacity: { stepTokens: 500, queueLimit: 20 } })]);
    // Hundreds of ms each, believed by the first guess.
    const [first, second, unusual]: Job[] = [4_000, 4_000, 20_000].map((promptTokens, n) => ({
      id: `j${n}`,
      promptTokens,
      outputTokens: 10,
    }));
    const jobs = [first, second, unusual].filter((job) => job !== undefined);
    for (const job of jobs) made.ask(job);
    expect(jobs.map(({ answer }) => answer?.type)).toEqual(["replica", undefined, "replica"]);
  });

  it("refuses who waits, and who comes, once its last replica was drained and has gone; until another joins", () => {
    const made = pool([replica("r0", STEPS)]);
    const [running, waiting, late, again] = ["running", "waiting", "late", "again"].map((id): Job => ({
      id,
      promptTokens: 8_000,
      outputTokens: 1,
    })) as [Job, Job, Job, Job];
    for (const job of [running, waiting]) made.ask(job);
    made.drain("r0");
    made.pass(2_000);
    expect(waiting.answer).toBeUndefined();
    made.kill("r0");
    // It may come back at once, as another process.
    made.pass(2_500);
    expect(waiting.answer).toBeUndefined();
    made.pass(1_000);
    made.ask(late);
    const ended = { type: "refused", retryAfterSeconds: 5, message: expect.stringContaining("have ended") };
    expect([waiting.answer, late.answer]).toEqual([ended, ended]);
    made.join(replica("r0", STEPS));
    made.ask(again);
    expect(again.answer?.type).toBe("replica");
  });

  it("takes the shortest prefill first, until the others have waited for it", () => {
    const made = pool([replica("r0", STEPS)]);
    const order: string[] = [];
    const jobs = [
      ["running", 1_200],
      ["long", 9_000],
      ["short", 100],
      ["middle", 2_000],
    ].map(([id, tokens]): Job => ({ id: String(id), promptTokens: Number(tokens), outputTokens: 1 }));
    for (const job of jobs) made.ask(job);
    made.pass(5_000, () => {
      for (const { id, answer } of jobs) if (answer !== undefined && !order.includes(id)) order.push(id);
    });
    expect(order).toEqual(["running", "short", "middle", "long"]);
  });

  it("gives an idle replica work at once, however slow it is", () => {
    const made = pool([replica("slow", { prefillMsPerToken: 50, capacity: { stepTokens: 1 } })]);
    const [one, two]: Job[] = [
      { id: "a", promptTokens: 100, outputTokens: 1 },
      { id: "b", promptTokens: 100, outputTokens: 1 },
    ];
    if (one === undefined || two === undefined) throw new Error("two jobs");
    made.ask(one);
    made.ask(two);
    expect([one.answer?.type, two.answer?.type]).toEqual(["replica", undefined]);
    made.pass(5_000);
    expect(two.answeredAtMs).toBe(one.firstTokenAtMs);
  });

  it("never leaves a large request behind small ones for good: its replica is kept free", () => {
    const made = pool([replica("r0", { capacity: { sequences: 8, kvTokens: 3_000 } })]);
    const jobs: Job[] = [];
    const small = (n: number): void => {
      const job: Job = { id: `s${n}`, promptTokens: 500, outputTokens: 200 };
      jobs.push(job);
      made.ask(job);
    };
    for (let n = 0; n < 200; n++) made.at(1_000 + n * 200, () => small(n));
    const large: Job = { id: "large", promptTokens: 2_900, outputTokens: 10 };
    made.at(3_000, () => made.ask(large));
    made.pass(120_000);
    expect((large.answeredAtMs ?? Infinity) - 3_000).toBeLessThan(PATIENCE_MS + 3_000);
    expect(jobs.every(({ answer }) => answer?.type === "replica")).toBe(true);
  });
});

describe("priorities", () => {
  it("let the higher class pass, and the lower come in time", () => {
    const made = pool([replica("r0", { ...STEPS, prefillMsPerToken: 1 })]);
    const high: Job[] = [];
    const low: Job = { id: "low", promptTokens: 1_000, outputTokens: 1, more: { priority: "low" } };
    for (let n = 0; n < 100; n++) {
      const job: Job = { id: `h${n}`, promptTokens: 1_000, outputTokens: 1, more: { priority: "high" } };
      high.push(job);
      // As much as it can do.
      made.at(1_000 + n * 1_000, () => made.ask(job));
    }
    made.at(3_500, () => made.ask(low));
    for (const id of ["x", "y", "z"]) made.ask({ id, promptTokens: 1_000, outputTokens: 1, more: { priority: "high" } });
    made.pass(200_000);
    const waitedMs = (low.answeredAtMs ?? Infinity) - 3_500;
    expect(waitedMs).toBeGreaterThan(20_000);
    expect(waitedMs).toBeLessThan(50_000);
  });
});

describe("fairness", () => {
  it("lets a tenant with one request pass another's burst", () => {
    const made = pool([replica("r0", STEPS)]);
    const burst = Array.from({ length: 40 }, (_, n): Job => ({
      id: `b${n}`,
      promptTokens: 1_000,
      outputTokens: 1,
      more: { salt: "noisy" },
    }));
    for (const job of burst) made.ask(job);
    made.pass(1_000);
    const quiet: Job = { id: "quiet", promptTokens: 1_000, outputTokens: 1, more: { salt: "quiet" } };
    made.ask(quiet);
    made.pass(10_000);
    const before = burst.filter((job) => (job.answeredAtMs ?? Infinity) < (quiet.answeredAtMs ?? 0)).length;
    expect(before).toBeLessThan(16);
    expect(burst.every(({ answer }) => answer?.type === "replica")).toBe(true);
  });
});

describe("deadlines", () => {
  it("refuse at once what would come too late, with the time until the line is drained", () => {
    const made = pool([replica("r0", STEPS)]);
    for (let n = 0; n < 40; n++) made.ask({ id: `j${n}`, promptTokens: 1_000, outputTokens: 1 });
    const late: Job = { id: "late", promptTokens: 1_000, outputTokens: 1, more: { deadlineMs: made.nowMs + 2_000 } };
    made.ask(late);
    expect(late.answer).toMatchObject({ type: "refused", retryAfterSeconds: 4, message: expect.stringContaining("after its deadline") });
    const patient: Job = { id: "patient", promptTokens: 1_000, outputTokens: 1, more: { deadlineMs: made.nowMs + 20_000 } };
    made.ask(patient);
    expect(patient.answer).toBeUndefined();
    made.pass(30_000);
    expect(patient.answer?.type).toBe("replica");
    expect(made.state.counters.refused).toBe(1);
  });

  it("refuse who waits when its time is over", () => {
    const made = pool([replica("r0", { decodeMsPerToken: 100, capacity: { sequences: 1, queueLimit: 0 } })]);
    made.ask({ id: "running", promptTokens: 100, outputTokens: 100 });
    const job: Job = { id: "waits", promptTokens: 100, outputTokens: 1, more: { deadlineMs: made.nowMs + 1_000 } };
    made.ask(job);
    expect(job.answer).toBeUndefined();
    made.pass(2_000);
    expect(job.answer?.type).toBe("refused");
    expect(made.pool.waiting).toBe(0);
  });

  it("bound the line in time, too: at twice the load whoever is let in is served within 90 s or so, at full speed", () => {
    const made = pool([replica("r0", { prefillMsPerToken: 1, capacity: { sequences: 64, stepTokens: 1_000 } })]);
    const jobs = Array.from({ length: 400 }, (_, n): Job => ({ id: `j${n}`, promptTokens: 1_000, outputTokens: 1 }));
    for (const [n, job] of jobs.entries()) made.at(1_000 + n * 500, () => made.ask(job));
    made.pass(400_000);
    const served = jobs.filter(({ answer }) => answer?.type === "replica");
    expect(jobs.every(({ answer }) => answer !== undefined)).toBe(true);
    expect(served.length).toBeGreaterThan(270);
    for (const { askedAtMs = 0, firstTokenAtMs = Infinity } of served) expect(firstTokenAtMs - askedAtMs).toBeLessThan(100_000);
  }, 60_000);
});

describe("whatever comes", () => {
  const job = fc.record({
    afterMs: fc.nat(400),
    promptTokens: fc.integer({ min: 1, max: 6_000 }),
    outputTokens: fc.integer({ min: 1, max: 300 }),
    priority: fc.constantFrom("high", "normal", "low"),
    salt: fc.constantFrom("a", "b", "c"),
  });
  const models = fc.array(
    fc.record({
      prefillMsPerToken: fc.double({ min: 0.02, max: 2, noNaN: true }),
      decodeMsPerToken: fc.integer({ min: 1, max: 30 }),
      capacity: fc.record({
        sequences: fc.integer({ min: 1, max: 4 }),
        queueLimit: fc.nat(2),
        kvTokens: fc.integer({ min: 2_000, max: 20_000 }),
        stepTokens: fc.integer({ min: 1, max: 8_192 }),
      }),
    }),
    { minLength: 1, maxLength: 4 },
  );

  it("leases stay within capacity, and nobody waits longer than all the work there is", () => {
    fc.assert(
      fc.property(models, fc.array(job, { maxLength: 60 }), fc.integer(), fc.boolean(), (machines, arrivals, seed, taught) => {
        const named = machines.map((machine, n) => ({ ...machine, name: `r${n}` }));
        const made = new ModelPool(named, { roll: dice(seed) });
        if (taught) made.teach();
        const jobs: Job[] = [];
        let atMs = made.nowMs;
        for (const [n, { afterMs, promptTokens, outputTokens, priority, salt }] of arrivals.entries()) {
          atMs += afterMs;
          const next: Job = { id: `j${n}`, promptTokens, outputTokens, more: { priority, salt } };
          jobs.push(next);
          made.at(atMs, () => made.ask(next));
        }
        // All of it one after the other on the slowest, and the patience of each that had to wait for an idle replica.
        const slowest = (of: "prefillMsPerToken" | "decodeMsPerToken") => Math.max(...machines.map((machine) => machine[of]));
        let boundMs = PATIENCE_MS + 1_000;
        for (const { promptTokens, outputTokens } of jobs) {
          boundMs += promptTokens * slowest("prefillMsPerToken") + outputTokens * slowest("decodeMsPerToken");
        }
        made.pass(boundMs + 60_000, () => {
          for (const { slot, model } of made.replicas.values()) {
            const { inFlight } = made.state.leases.load(slot);
            const { sequences = 0, queueLimit = 0, kvTokens = 0 } = model.capacity ?? {};
            expect(inFlight).toBeLessThanOrEqual(sequences + queueLimit);
            const load = made.state.leases.load(slot);
            if (inFlight > 1) expect(load.uncachedTokens).toBeLessThanOrEqual(kvTokens);
          }
        });
        for (const { answer, askedAtMs = 0, answeredAtMs = Infinity } of jobs) {
          expect(answer).toBeDefined();
          expect(answeredAtMs - askedAtMs).toBeLessThanOrEqual(boundMs);
        }
        expect([made.pool.waiting, made.state.leases.size]).toEqual([0, 0]);
      }),
      { seed: 47, numRuns: FULL ? 2_000 : 100 },
    );
  }, 120_000);

  it("a dead replica holds no waiter: whoever is in line is served by the others", () => {
    fc.assert(
      fc.property(fc.array(job, { minLength: 5, maxLength: 40 }), fc.nat(3_000), fc.integer(), (arrivals, diesAtMs, seed) => {
        const made = new ModelPool([replica("dies", STEPS), replica("lives", STEPS)], { roll: dice(seed) });
        made.teach();
        const jobs: Job[] = [];
        let atMs = made.nowMs;
        for (const [n, { afterMs, promptTokens, outputTokens }] of arrivals.entries()) {
          atMs += afterMs / 4;
          const next: Job = { id: `j${n}`, promptTokens, outputTokens };
          jobs.push(next);
          made.at(atMs, () => made.ask(next));
        }
        const diedAtMs = made.nowMs + diesAtMs;
        made.at(diedAtMs, () => made.kill("dies"));
        made.pass(300_000);
        for (const { answer, answeredAtMs = Infinity } of jobs) {
          expect(answer?.type).toBe("replica");
          if (answer?.type === "replica" && answeredAtMs > diedAtMs) expect(answer.replica).toBe("lives");
        }
        expect([made.pool.waiting, made.state.leases.size]).toEqual([0, 0]);
      }),
      { seed: 53, numRuns: FULL ? 1_000 : 60 },
    );
  }, 120_000);
});
