import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sloCapacity } from "../../../simulator/slo-capacity.ts";

/** Just good enough up to a border, bad above; keeps what it was asked. */
function stepAt(border: number): { run: (rate: number) => { goodShare: number }; rates: number[] } {
  const rates: number[] = [];
  return {
    rates,
    run: (rate) => {
      rates.push(rate);
      return { goodShare: rate <= border ? 0.9 : 0.4 };
    },
  };
}

describe("SLO capacity", () => {
  it("bisects by factors", () => {
    const { run, rates } = stepAt(5);
    // 1 and 16; sqrt(16) = 4 holds; sqrt(4 * 16) = 8 fails; sqrt(4 * 8) = 5.66 fails; sqrt(4 * 5.66) = 4.76 holds: within 1.2.
    const found = sloCapacity(run, { lowestPerSecond: 1, highestPerSecond: 16, withinFactor: 1.2 });
    expect(rates.map((rate) => Number(rate.toFixed(2)))).toEqual([1, 16, 4, 8, 5.66, 4.76]);
    expect(found).toMatchObject({ kind: "found", goodShare: 0.9, runs: 6, converged: true });
  });

  it("finds any border within the factor, below it, in bounded runs", () => {
    fc.assert(
      fc.property(fc.double({ min: 0.11, max: 99, noNaN: true }), (border) => {
        const { run, rates } = stepAt(border);
        const found = sloCapacity(run, { lowestPerSecond: 0.1, highestPerSecond: 100, maxRuns: 20 });
        if (found.kind !== "found") throw new Error(found.kind);
        expect(found.requestsPerSecond).toBeLessThanOrEqual(border);
        expect(found.failedPerSecond).toBeGreaterThan(border);
        expect(found.failedPerSecond / found.requestsPerSecond).toBeLessThanOrEqual(1.02);
        // log2(ln(1000) / ln(1.02)) = 8.45: nine halvings after the two ends.
        expect(rates).toHaveLength(11);
        expect(found.runs).toBe(11);
      }),
      { seed: 6, numRuns: 100 },
    );
  });

  it("says when it ran out of runs", () => {
    const found = sloCapacity(stepAt(5).run, { lowestPerSecond: 1, highestPerSecond: 16, maxRuns: 3 });
    expect(found).toEqual({ kind: "found", requestsPerSecond: 4, failedPerSecond: 16, goodShare: 0.9, runs: 3, converged: false });
  });

  it("says when the border is outside", () => {
    expect(sloCapacity(stepAt(0.5).run, { lowestPerSecond: 1, highestPerSecond: 16 })).toEqual({
      kind: "below-range",
      requestsPerSecond: 1,
      goodShare: 0.4,
      runs: 1,
    });
    expect(sloCapacity(stepAt(16).run, { lowestPerSecond: 1, highestPerSecond: 16 })).toEqual({
      kind: "above-range",
      requestsPerSecond: 16,
      goodShare: 0.9,
      runs: 2,
    });
  });

  it("holds at the share itself, not just below, and never where it is no number", () => {
    const at = (goodShare: number) => sloCapacity(() => ({ goodShare }), { lowestPerSecond: 1, highestPerSecond: 2 }).kind;
    expect([at(0.9), at(0.8999), at(Number.NaN)]).toEqual(["above-range", "below-range", "below-range"]);
    expect(sloCapacity(() => ({ goodShare: 0.5 }), { lowestPerSecond: 1, highestPerSecond: 2, goodShare: 0.5 }).kind).toBe("above-range");
  });

  it("ends where the share goes up and down, on a rate that held", () => {
    const held = (rate: number) => Math.sin(rate) > -0.5;
    const found = sloCapacity((rate) => ({ goodShare: rate < 2 || (rate < 60 && held(rate)) ? 1 : 0 }), {
      lowestPerSecond: 1,
      highestPerSecond: 100,
      maxRuns: 12,
    });
    if (found.kind !== "found") throw new Error(found.kind);
    expect(found.runs).toBeLessThanOrEqual(12);
    expect(found.goodShare).toBe(1);
  });

  it.each([
    { lowestPerSecond: 0, highestPerSecond: 1 },
    { lowestPerSecond: 2, highestPerSecond: 2 },
    { lowestPerSecond: 1, highestPerSecond: Infinity },
    { lowestPerSecond: 1, highestPerSecond: 2, withinFactor: 1 },
    { lowestPerSecond: 1, highestPerSecond: 2, maxRuns: 1 },
  ])("rejects %o", (search) => {
    expect(() => sloCapacity(() => ({ goodShare: 1 }), search)).toThrow(RangeError);
  });
});
