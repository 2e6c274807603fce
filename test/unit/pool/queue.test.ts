import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { WaitingLine } from "../../../src/pool/queue.ts";

describe("the waiting line", () => {
  it("is first come, first served by arrival, also for one that brings its arrival back after a restart", () => {
    const line = new WaitingLine();
    expect(line.enter("b", 20, 20)).toEqual({ kind: "waiting", position: 0, retryWithinMs: 7_000 });
    expect(line.enter("c", 30, 30)).toMatchObject({ position: 1 });
    expect(line.enter("a", 10, 40)).toMatchObject({ position: 0 });
    expect(line.enter("liar", 9_999, 41)).toMatchObject({ position: 3 });
    expect(line.heads(2).map((claim) => claim.id)).toEqual(["a", "b"]);
    expect(line.take()?.id).toBe("a");
    expect(line.take("c")?.id).toBe("c");
    expect(line.position("liar")).toBe(1);
    expect(line.position("a")).toBeNull();
    expect(line.drop("b")).toBe(true);
    expect(line.drop("b")).toBe(false);
    expect(line.take("b")).toBeNull();
    expect(line.length).toBe(1);
  });

  it("drops who is not renewed for 7 s", () => {
    const line = new WaitingLine();
    line.enter("a", 0, 0);
    line.enter("b", 0, 0);
    expect(line.nextDeadlineMs()).toBe(7_000);
    expect(line.renew("b", 6_000)).toMatchObject({ position: 1 });
    expect(line.enter("b", 5_000, 6_500)).toMatchObject({ position: 1 });
    expect(line.expire(6_999)).toEqual([]);
    expect(line.expire(7_000).map((claim) => claim.id)).toEqual(["a"]);
    expect(line.renew("a", 7_001)).toBeNull();
    expect(line.expire(13_500).map((claim) => claim.id)).toEqual(["b"]);
    expect(line.nextDeadlineMs()).toBeNull();
    expect(line.take()).toBeNull();
  });

  it("is bounded: the next one is refused with a reason, those inside may renew", () => {
    const line = new WaitingLine();
    for (let n = 0; n < 1_024; n++) line.enter(`w${n}`, n, n);
    expect(line.enter("x", 0, 2_000)).toEqual({ kind: "refused", code: "overloaded", reason: "1024 requests are waiting already" });
    expect(line.enter("w7", 7, 2_000)).toMatchObject({ kind: "waiting", position: 7 });
  });
});

describe("whatever happens to the line", () => {
  it("positions are the order of (arrival, entry)", () => {
    const op = fc.tuple(
      fc.constantFrom("enter", "enter", "drop", "renew", "expire"),
      fc.integer({ min: 0, max: 9 }),
      fc.integer({ min: 0, max: 50 }),
    );
    fc.assert(
      fc.property(fc.array(op, { maxLength: 60 }), (ops) => {
        const line = new WaitingLine(8);
        let nowMs = 100;
        for (const [kind, n, ago] of ops) {
          nowMs += 400;
          if (kind === "enter") line.enter(`w${n}`, nowMs - ago * 10, nowMs);
          else if (kind === "drop") line.drop(`w${n}`);
          else if (kind === "renew") line.renew(`w${n}`, nowMs);
          else line.expire(nowMs);
          const inLine = line.heads(99);
          expect(inLine.length).toBe(line.length);
          expect(line.length).toBeLessThanOrEqual(8);
          expect(inLine.map((claim) => claim.arrivedAtMs)).toEqual(inLine.map((claim) => claim.arrivedAtMs).toSorted((a, b) => a - b));
          for (const [position, claim] of inLine.entries()) expect(line.position(claim.id)).toBe(position);
        }
      }),
      { seed: 17, numRuns: 200 },
    );
  });
});
