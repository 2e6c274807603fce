/** Nobody waits without bound beside a replica that could take them. */
import { describe, expect, it } from "vitest";
import { replay } from "../../../src/explain/record.ts";
import { EXCLUDED_MS } from "../../../src/router/exclusion.ts";
import { type Job, ModelPool, type ModelReplica } from "./model-pool.ts";

const LARGE = { sequences: 4, kvTokens: 400_000, contextTokens: 100_000, queueLimit: 2, stepTokens: 2_000 };
const model = (name: string, more: Partial<ModelReplica> = {}): ModelReplica => ({
  name,
  prefillMsPerToken: 0.1,
  decodeMsPerToken: 5,
  capacity: LARGE,
  ...more,
});

function poolOf(...models: ModelReplica[]): ModelPool {
  const made = new ModelPool(models);
  made.teach();
  return made;
}

const on = ({ answer }: Job): string | null => (answer?.type === "replica" ? answer.replica : null);
const waitedMs = ({ answeredAtMs = Infinity, askedAtMs = 0 }: Job): number => answeredAtMs - askedAtMs;
const failedOn = (replica: string) => ({ failed: [{ replica, attempt: 1 }] });

/** Both full, then waiters that r1 has failed; r1 comes free. */
function crowded(waiters = 64): { made: ModelPool; crowd: Job[] } {
  const made = poolOf(model("r1"), model("r2"));
  // r2's never end in the time that is looked at; r1 has none.
  for (let n = 0; n < 6; n++) made.ask({ id: `full-${n}`, promptTokens: 100, outputTokens: 1e6, more: failedOn("r1") });
  made.pass(500);
  expect(made.state.leases.count(1)).toBe(6);
  const crowd = Array.from({ length: waiters }, (_, n): Job => ({ id: `w${n}`, promptTokens: 200, outputTokens: 1, more: failedOn("r1") }));
  for (const job of crowd) made.ask(job);
  return { made, crowd };
}

describe("64 waiters that may not go to an idle replica", () => {
  it("do not block who comes behind them", () => {
    const { made, crowd } = crowded();
    const fresh: Job = { id: "fresh", promptTokens: 200, outputTokens: 1 };
    made.ask(fresh);
    made.pass(1_000);
    expect([on(fresh), waitedMs(fresh)]).toEqual(["r1", expect.toSatisfy((ms: number) => ms <= 1_000)]);
    expect(crowd.every((job) => job.answer === undefined)).toBe(true);
  });

  it("may go there 10 s after it failed them", () => {
    const { made, crowd } = crowded();
    made.pass(EXCLUDED_MS - 500);
    expect(crowd.some((job) => job.answer !== undefined)).toBe(false);
    made.pass(10_000);
    expect(crowd.every((job) => on(job) === "r1")).toBe(true);
  });

  it("may go there as soon as it began a new epoch", () => {
    const { made, crowd } = crowded(3);
    made.pass(2_000);
    made.join(model("r1"));
    made.pass(1_000);
    expect(crowd.map(on)).toEqual(["r1", "r1", "r1"]);
  });

  it("may go at once where it is the epoch before that failed them, by the edge's word", () => {
    const { made } = crowded(0);
    const epoch = made.state.named("r1")?.epoch ?? 0;
    const jobs = [epoch, epoch - 1].map((failedIn, n): Job => ({
      id: `named-${n}`,
      promptTokens: 200,
      outputTokens: 1,
      more: { failed: [{ replica: "r1", attempt: 1, epoch: failedIn }] },
    }));
    for (const job of jobs) made.ask(job);
    expect(jobs.map(on)).toEqual([null, "r1"]);
  });
});

describe("a request whose replica said that its epoch is over", () => {
  it("waits for the next epoch, though no other replica is there", () => {
    const made = poolOf(model("r1"));
    made.pass(100);
    const epoch = made.state.named("r1")?.epoch ?? 0;
    const job: Job = {
      id: "a",
      promptTokens: 100,
      outputTokens: 1,
      more: { failed: [{ replica: "r1", attempt: 1, epoch, replaced: true }] },
    };
    made.ask(job);
    made.pass(300);
    expect(on(job)).toBeNull();
    made.join(model("r1"));
    expect([on(job), job.answer]).toEqual(["r1", expect.objectContaining({ epoch: made.nowMs })]);
  });
});

describe("who waits for a warm replica", () => {
  const chain = BigUint64Array.from({ length: 200 }, (_, n) => BigInt(n + 1));

  /** r1 holds 60,000 tokens of the prompt and computes a prefill predicted at 1.9 s that never ends. */
  function hung(...others: ModelReplica[]): ModelPool {
    const made = poolOf(model("r1"), ...others);
    const entries = [...chain].map((hash, depth) => ({ hash, tokens: (depth + 1) * 300, tierBits: 1 }));
    made.pool.residency(0, { kind: "delta", first: true, last: true, seq: 1, entries }, made.nowMs);
    const running = made.replicas.get("r1");
    if (running === undefined) throw new Error("r1 joined");
    running.model = { ...running.model, prefillMsPerToken: 1e9 };
    return made;
  }

  const follower = (id: string): Job => ({ id, promptTokens: 60_100, outputTokens: 1, more: { chain } });
  const hang = (made: ModelPool): void => {
    const job: Job = {
      id: "hangs",
      promptTokens: 19_000,
      outputTokens: 1,
      more: { failed: ["r2", "r3"].map((replica) => ({ replica, attempt: 1 })) },
    };
    made.ask(job);
    expect(on(job)).toBe("r1");
    expect(made.state.leases.load(0).queuedPrefillMs).toBeCloseTo(1_900, -2);
  };

  it("goes to an idle one within 1 s", () => {
    const made = hung(model("r2"));
    hang(made);
    const warm = follower("warm");
    made.ask(warm);
    expect(on(warm)).toBeNull();
    made.pass(30_000);
    expect([on(warm), waitedMs(warm)]).toEqual(["r2", expect.toSatisfy((ms: number) => ms <= 1_000)]);
  });

  it("goes to a busy one within 3x of what the prefill ahead was predicted", () => {
    const made = hung(model("r2"));
    // Writes an answer all the time: r2 is not idle.
    made.ask({ id: "writes", promptTokens: 100, outputTokens: 1e6, more: failedOn("r1") });
    made.pass(100);
    hang(made);
    const warm = [follower("warm-0"), follower("warm-1")];
    for (const job of warm) made.ask(job);
    made.pass(1_000);
    expect(warm.map(on)).toEqual([null, null]);
    made.pass(30_000);
    expect(warm.map(on)).toEqual(["r2", "r2"]);
    expect(Math.min(...warm.map(waitedMs))).toBeLessThanOrEqual(3 * 1_900 + 500);
  });

  it("goes there where there is no other, and gets a possible wait time, however long that one hangs", () => {
    const made = hung();
    made.ask({ id: "hangs", promptTokens: 100, outputTokens: 1 });
    made.pass(20_000);
    const warm = follower("warm");
    made.ask(warm);
    expect(on(warm)).toBe("r1");
    const record = made.state.ring.attempts("warm", "t").at(-1);
    const told = record === undefined ? undefined : replay(record).candidates[record.decision.chosen ?? -1];
    expect(told?.terms.stuckMs).toBeGreaterThan(0);
    // It hangs for 20 s.
    expect(told?.predictedTtftMs).toBeGreaterThan(19_000);
    expect(told?.predictedTtftMs).toBeLessThan(40_000);
  });

  it("is not driven off by a deadline that the idle one can't meet", () => {
    const made = hung(model("r2"));
    hang(made);
    const hurried = { ...follower("hurried"), more: { chain, deadlineMs: made.nowMs + 4_000 } };
    made.ask(hurried);
    made.pass(2_000);
    expect(hurried.answer).toBeUndefined();
  });
});

describe("an attempt whose number was given before", () => {
  it("gets another one: no answer names a lease that has ended", () => {
    const made = poolOf(model("r1"));
    // As it is when the record was forgotten and the ended lease was not.
    made.state.leases.reserve({ id: "a", attempt: 1, replica: 0, nowMs: 0, promptTokens: 1, uncachedTokens: 1, predictedMs: 1, salt: "s" });
    made.state.leases.release({ id: "a", attempt: 1 }, 1);
    const job: Job = { id: "a", promptTokens: 100, outputTokens: 1 };
    made.ask(job);
    expect(job.answer).toMatchObject({ type: "replica", attempt: 2 });
    expect(made.state.leases.get({ id: "a", attempt: 2 })?.endedAtMs).toBeNull();
  });
});
