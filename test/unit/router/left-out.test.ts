import { describe, expect, it } from "vitest";
import { barredFor, leftOutNow } from "../../../src/router/exclusion.ts";
import type { DecideRequest, FailedAttempt } from "../../../src/router/question.ts";
import { seededDraw } from "../../../simulator/chance.ts";
import { ModelPool } from "./model-pool.ts";

const NAMES = ["r0", "r1", "r2"];
const replica = (name: string) => ({ name, prefillMsPerToken: 0.1, decodeMsPerToken: 5, capacity: { sequences: 500 } });
const request = (id: string, arrivedAtMs: number, failed: FailedAttempt[] = []): DecideRequest => ({
  id,
  tenant: "t",
  salt: "s",
  fingerprint: "v1",
  chain: new BigUint64Array(),
  promptBytes: 400,
  path: "/v1/chat/completions",
  bodyBytes: 400,
  digest: "",
  arrivedAtMs,
  failed,
});

/** One that is forwarded at once, to replicas that fail it as `fails` says, four times at most; who was asked. */
function serve(made: ModelPool, id: string, fails: (name: string) => boolean): string[] {
  const failed: FailedAttempt[] = [];
  for (;;) {
    const { answer } = made.pool.decide(request(id, made.nowMs, failed), made.nowMs, () => undefined);
    expect(answer?.type).toBe("replica");
    if (answer?.type !== "replica") return [];
    const asked = [...failed.map((attempt) => attempt.replica), answer.replica];
    const key = { id, attempt: answer.attempt };
    if (!fails(answer.replica)) {
      made.pool.release(key, made.nowMs);
      const answered = [{ replica: answer.replica, epoch: answer.epoch }];
      const { answer: next } = made.pool.decide({ ...request(`${id}-next`, made.nowMs), answered }, made.nowMs, () => undefined);
      if (next?.type === "replica") made.pool.release({ id: `${id}-next`, attempt: next.attempt }, made.nowMs);
      return asked;
    }
    failed.push({ replica: answer.replica, attempt: answer.attempt, epoch: answer.epoch });
    if (failed.length === 4) {
      made.pool.release(key, made.nowMs, true);
      return asked;
    }
  }
}

describe("replicas that fail every request", () => {
  it("whichever fail, and for however long, one that is ready is always asked, and those that answer lose no request to them", () => {
    for (let seed = 1; seed <= 40; seed++) {
      const draw = seededDraw(seed);
      const made = new ModelPool(NAMES.map(replica), { roll: draw });
      const bad = new Set(NAMES.filter(() => draw() < 0.6));
      let retries = 0;
      for (let at = 0; at < 200; at++) {
        made.nowMs += Math.floor(draw() * 20);
        retries += serve(made, `q${at}`, (name) => bad.has(name)).length - 1;
        const { excluded, leftOut } = barredFor(made.state, request("new", made.nowMs), made.nowMs);
        expect(new Set([...excluded, ...leftOut]).size).toBeLessThan(NAMES.length);
      }
      // Three failures each, and one try for each of the pauses of 1 and 2 s in these 2 s.
      if (bad.size < NAMES.length) expect(retries).toBeLessThanOrEqual(5 * bad.size);
    }
  });

  it("a failure is counted once, however often an edge names it while it waits", () => {
    const made = new ModelPool([replica("r0"), replica("r1")]);
    const { answer: first } = made.pool.decide(request("q", made.nowMs), made.nowMs, () => undefined);
    if (first?.type !== "replica") throw new Error("no replica");
    const failed = [{ replica: first.replica, attempt: first.attempt, epoch: first.epoch }];
    for (let call = 0; call < 10; call++) made.pool.decide(request("q", made.nowMs, failed), made.nowMs, () => undefined);
    expect([made.state.counters.failures, leftOutNow(made.state, made.nowMs)]).toEqual([1, []]);
  });

  it("an epoch that was replaced is no failure", () => {
    const made = new ModelPool([replica("r0"), replica("r1")]);
    for (let at = 0; at < 5; at++) {
      const { answer: first } = made.pool.decide(request(`q${at}`, made.nowMs), made.nowMs, () => undefined);
      if (first?.type !== "replica") throw new Error("no replica");
      const failed = [{ replica: first.replica, attempt: first.attempt, epoch: first.epoch, replaced: true }];
      made.pool.decide(request(`q${at}`, made.nowMs, failed), made.nowMs, () => undefined);
    }
    expect(made.state.counters.failures).toBe(0);
  });
});
