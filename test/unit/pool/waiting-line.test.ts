import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { WaitingLine } from "../../../src/pool/waiting-line.ts";

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

describe("whose turn it is", () => {
  const turns = (line: WaitingLine, nowMs: number, workMs: readonly number[]) => {
    const heads = line.heads(64);
    return line.inTurn(heads, workMs, nowMs).map((at) => heads[at]?.id);
  };

  it("is the shortest's, less half of what it waited; classes come first, and are left after 20 s each", () => {
    const line = new WaitingLine();
    line.enter("long", 0, 0);
    line.enter("short", 500, 500);
    line.enter("low", 600, 600, { priority: "low" });
    line.enter("high", 700, 700, { priority: "high" });
    const work = (ids: readonly (string | undefined)[]) => ids.map((id) => (id === "long" ? 500 : 100));
    const order = (nowMs: number) => turns(line, nowMs, work(line.heads(64).map(({ id }) => id)));
    expect(line.heads(2).map(({ id }) => id)).toEqual(["high", "long"]);
    expect(order(1_000)).toEqual(["high", "short", "long", "low"]);
    // From 20 s on normal is high, from 40 s on low is, too: then only the time waited and the length count.
    expect(order(21_000)).toEqual(["short", "high", "long", "low"]);
    expect(order(40_600)).toEqual(["short", "low", "high", "long"]);
  });

  it("is later for the tenant that was served more lately, by no more than a bound", () => {
    const line = new WaitingLine();
    line.enter("noisy", 0, 0, { salt: "a" });
    line.enter("quiet", 300, 300, { salt: "b" });
    expect(turns(line, 300, [100, 100])).toEqual(["noisy", "quiet"]);
    line.serve("a", 600, 300);
    expect(turns(line, 300, [100, 100])).toEqual(["quiet", "noisy"]);
    expect(turns(line, 300, [100, 500])).toEqual(["noisy", "quiet"]);
    line.serve("a", 1e9, 300);
    expect(turns(line, 300, [100, 2_400])).toEqual(["noisy", "quiet"]);
    // Alone it steps back for nobody; and what was served fades.
    line.enter("third", 8_000, 8_000, { salt: "b" });
    expect(turns(line, 8_000, [100, 100, 100])).toEqual(["quiet", "noisy", "third"]);
  });

  it("comes for everybody: a request that waited long enough is before all later ones", () => {
    const waiter = fc.record({
      afterMs: fc.nat(5_000),
      workMs: fc.nat(5_000),
      priority: fc.constantFrom("high" as const, "normal" as const, "low" as const),
      salt: fc.constantFrom("a", "b", "c"),
      servedMs: fc.nat(50_000),
    });
    fc.assert(
      fc.property(fc.array(waiter, { maxLength: 40 }), (waiters) => {
        const line = new WaitingLine();
        let nowMs = 0;
        const work = new Map<string, number>();
        for (const [n, { afterMs, workMs, priority, salt, servedMs }] of waiters.entries()) {
          nowMs += afterMs;
          line.enter(`w${n}`, nowMs, nowMs, { priority, salt, workMs });
          line.serve(salt, servedMs, nowMs);
          work.set(`w${n}`, workMs);
        }
        nowMs += 40_000;
        const heads = line.heads(64);
        const order = line.inTurn(
          heads,
          heads.map(({ id }) => work.get(id) ?? 0),
          nowMs,
        );
        expect(order.toSorted((a, b) => a - b)).toEqual(heads.map((_, at) => at));
        const place = new Map(order.map((at, turn) => [heads[at]?.id, turn]));
        for (const a of heads)
          for (const b of heads)
            if (b.arrivedAtMs - a.arrivedAtMs > 2 * ((work.get(a.id) ?? 0) + 2_000))
              expect(place.get(a.id)).toBeLessThan(place.get(b.id) ?? -1);
        expect(line.workMs).toBe([...work.values()].reduce((sum, ms) => sum + ms, 0));
      }),
      { seed: 59, numRuns: 200 },
    );
  });
});

describe("who would come before a newcomer", () => {
  it("has less prefill or has waited for it, or is of a class above", () => {
    const line = new WaitingLine();
    line.enter("short", 900, 900, { workMs: 100 });
    line.enter("long", 900, 900, { workMs: 1_000 });
    line.enter("old", 0, 900, { workMs: 500 });
    line.enter("urgent", 900, 900, { workMs: 5_000, priority: "high" });
    expect(line.before("normal", 60, 1_000).workMs).toBe(100 + 500 + 5_000);
    expect(line.before("normal", 40, 1_000).workMs).toBe(500 + 5_000);
    expect(line.before("normal", 2_000, 1_000).workMs).toBe(6_600);
    expect(line.before("high", 40, 1_000).workMs).toBe(0);
    expect(line.before("low", 0, 1_000).workMs).toBe(6_600);
  });

  it("leaves at the pace of late", () => {
    const line = new WaitingLine();
    for (let n = 0; n < 12; n++) line.enter(`w${n}`, 0, 0, { workMs: 10 * (n + 1) });
    for (let n = 0; n < 8; n++) {
      expect(line.knowsPace).toBe(false);
      line.take(`w${n}`, 100 * (n + 1));
    }
    expect(line.knowsPace).toBe(true);
    const { paceMs } = line.before("normal", 105, 0);
    expect(paceMs).toBeCloseTo(200, 6);
    expect(paceMs).toBeCloseTo(line.paceMs / 2, 9);
  });

  it("does not take one pause for its pace, and follows one that lasts", () => {
    const line = new WaitingLine();
    let [nowMs, entered, left] = [0, 0, 0];
    const enter = (many: number): void => {
      for (; many > 0; many--) line.enter(`w${entered++}`, nowMs, nowMs);
    };
    const leave = (many: number, everyMs: number): void => {
      for (; many > 0; many--) {
        line.take(`w${left++}`, (nowMs += everyMs));
        enter(1);
      }
    };
    enter(100);
    leave(300, 20);
    expect(line.paceMs).toBeCloseTo(2_000, 3);
    leave(1, 10_000);
    expect(line.paceMs).toBeLessThan(10_000);
    leave(90, 1_000);
    expect(line.paceMs).toBeGreaterThan(60_000);
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
