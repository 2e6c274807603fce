import { describe, expect, it } from "vitest";
import { Breaker, FAILURES_ALLOWED, FIRST_PAUSE_MS, MOST_PAUSE_MS } from "../../../src/pool/breaker.ts";
import { seededDraw } from "../../../simulator/chance.ts";

/** All requests that are let through fail at once, one each `stepMs`; the times at which they went. */
function failing(breaker: Breaker, fromMs: number, untilMs: number, stepMs = 50): number[] {
  const went: number[] = [];
  for (let nowMs = fromMs; nowMs < untilMs; nowMs += stepMs) {
    if (breaker.isOut(0, 1, nowMs)) continue;
    went.push(nowMs);
    breaker.sent(0, 1, nowMs);
    breaker.failed(0, 1, nowMs, nowMs);
  }
  return went;
}

describe("a replica that fails every request", () => {
  it("is tried after 1 s, then after twice as long each time, up to every 30 s", () => {
    const went = failing(new Breaker(), 0, 200_000);
    const pauses = went.slice(FAILURES_ALLOWED - 1).map((atMs, at, all) => (all[at + 1] ?? NaN) - atMs);
    expect(pauses.slice(0, 7)).toEqual([1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 10_000]);
  });

  it("is left out once for all that were there when it was", () => {
    const breaker = new Breaker();
    for (let at = 0; at < 50; at++) breaker.failed(0, 1, 10, 100 + at);
    expect([breaker.isOut(0, 1, 101 + FIRST_PAUSE_MS), breaker.isOut(0, 1, 103 + FIRST_PAUSE_MS)]).toEqual([true, false]);
  });

  it("is tried by one request at a time", () => {
    const breaker = new Breaker();
    for (let at = 0; at < FAILURES_ALLOWED; at++) breaker.failed(0, 1, at, at);
    expect(breaker.isOut(0, 1, 1_100)).toBe(false);
    breaker.sent(0, 1, 1_100);
    expect([breaker.isOut(0, 1, 1_101), breaker.isOut(0, 1, 1_100 + FIRST_PAUSE_MS)]).toEqual([true, false]);
  });

  it("is let in by a success, by a new epoch and in a slot that was given up", () => {
    for (const clear of [(of: Breaker) => of.succeeded(0, 1), (of: Breaker) => of.forget(0)]) {
      const breaker = new Breaker();
      failing(breaker, 0, 10_000);
      expect(breaker.isOut(0, 1, 10_000)).toBe(true);
      expect(breaker.isOut(0, 2, 10_000)).toBe(false);
      clear(breaker);
      expect(failing(breaker, 10_000, 11_000)).toHaveLength(FAILURES_ALLOWED);
    }
  });
});

it("no history leaves a replica out for longer than 30 s, nor before 3 failures in a row, nor after a success", () => {
  for (let seed = 1; seed <= 200; seed++) {
    const random = seededDraw(seed);
    const breaker = new Breaker();
    let [nowMs, epoch, inRow, lastFailureMs] = [0, 1, 0, -Infinity];
    for (let step = 0; step < 300; step++) {
      nowMs += Math.floor(random() * random() * 3_000);
      const draw = random();
      if (draw < 0.6) {
        const sentAtMs = nowMs - Math.floor(random() * 2_000);
        const wasOut = breaker.isOut(0, epoch, nowMs);
        const leftOut = breaker.failed(0, epoch, sentAtMs, nowMs);
        inRow++;
        lastFailureMs = nowMs;
        if (leftOut !== null) {
          expect(leftOut.pauseMs).toBeLessThanOrEqual(MOST_PAUSE_MS);
          expect(breaker.isOut(0, epoch, nowMs + leftOut.pauseMs)).toBe(false);
        } else expect(breaker.isOut(0, epoch, nowMs)).toBe(wasOut);
      } else if (draw < 0.7) {
        breaker.succeeded(0, epoch);
        inRow = 0;
      } else if (draw < 0.72) {
        epoch++;
        inRow = 0;
      } else if (!breaker.isOut(0, epoch, nowMs)) breaker.sent(0, epoch, nowMs);
      if (inRow < FAILURES_ALLOWED) expect(breaker.isOut(0, epoch, nowMs)).toBe(false);
      expect(breaker.isOut(0, epoch, Math.max(nowMs, lastFailureMs) + MOST_PAUSE_MS)).toBe(false);
    }
  }
});
