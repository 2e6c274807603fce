import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { geomean, percentile, ratioOf, tokenWeightedMean } from "../../../simulator/statistics.ts";

describe("percentile", () => {
  const hundred = Array.from({ length: 100 }, (_, n) => n + 1);

  it("is the nearest rank", () => {
    expect(percentile(hundred, 0.5)).toBe(50);
    expect(percentile(hundred, 0.99)).toBe(99);
    expect(percentile(hundred, 0.991)).toBe(100);
    expect(percentile([10, 20, 30, 40], 0.5)).toBe(20);
    expect(percentile([10, 20, 30, 40], 0.51)).toBe(30);
  });

  it("stays inside: ends, one value, none", () => {
    expect([percentile(hundred, 0), percentile(hundred, 1)]).toEqual([1, 100]);
    expect(percentile([7], 0.99)).toBe(7);
    expect(percentile(Float64Array.of(), 0.5)).toBe(0);
  });

  it("is not exceeded by that share of the values, and is the smallest such", () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: 50 }), { minLength: 1, maxLength: 40 }),
        fc.double({ min: 0.01, max: 1, noNaN: true }),
        (values, share) => {
          const sorted = values.toSorted((a, b) => a - b);
          const value = percentile(sorted, share);
          const shareUpTo = (most: number) => sorted.filter((each) => each <= most).length / sorted.length;
          expect(shareUpTo(value)).toBeGreaterThanOrEqual(share - 1e-9);
          expect(shareUpTo(value - 1)).toBeLessThan(share);
        },
      ),
      { seed: 6, numRuns: 300 },
    );
  });
});

describe("mean over tokens", () => {
  it("lets long answers count for what they are", () => {
    // (10 * 1 + 20 * 3) / 4; over requests it would be 15.
    expect(
      tokenWeightedMean([
        { ms: 10, tokens: 1 },
        { ms: 20, tokens: 3 },
      ]),
    ).toBe(17.5);
  });

  it("is 0 without tokens", () => {
    expect(tokenWeightedMean([])).toBe(0);
    expect(tokenWeightedMean([{ ms: 10, tokens: 0 }])).toBe(0);
  });
});

describe("ratios", () => {
  it("divide, and take two zeros for equal", () => {
    expect([ratioOf(3, 2), ratioOf(0, 0), ratioOf(1, 0), ratioOf(0, 1)]).toEqual([1.5, 1, Infinity, 0]);
  });

  it("have a mean under which twice and half cancel", () => {
    expect(geomean([0.5, 2])).toBeCloseTo(1, 12);
    expect(geomean([1, 10, 100])).toBeCloseTo(10, 12);
    expect(geomean([0.7])).toBeCloseTo(0.7, 12);
  });

  it("have no mean when there is none, or one is not positive", () => {
    for (const bad of [[], [0], [1, -1], [Number.NaN]]) expect(() => geomean(bad)).toThrow(RangeError);
  });
});
