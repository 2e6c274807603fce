import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { linearScale, logScale, spread } from "../../../../cli/report/scale.ts";

const SPAN = { from: 200, to: 0 };

describe("a logarithmic axis", () => {
  it("begins and ends at marks around the values", () => {
    const { at, ticks } = logScale([30, 4_000], SPAN);
    expect(ticks).toEqual([20, 50, 100, 200, 500, 1_000, 2_000, 5_000]);
    expect([at(20), at(5_000)]).toEqual([200, 0]);
    // Halfway between 20 and 5,000 in factors: sqrt(20 * 5,000) = 316.2.
    expect(at(Math.sqrt(100_000))).toBeCloseTo(100, 9);
  });

  it("has more marks where the values are close", () => {
    expect(logScale([12, 28], SPAN).ticks).toEqual([10, 15, 20, 30]);
    expect(logScale([15, 15], SPAN).ticks).toEqual([15, 20, 30]);
  });

  it("lays 0 at the lower end, and stands without any value", () => {
    expect(logScale([0, 10, 100], SPAN).at(0)).toBe(200);
    expect(logScale([], SPAN).ticks.length).toBeGreaterThan(1);
  });

  it("holds every value between its ends, rising, with a bounded number of marks", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 1e-3, max: 1e7, noNaN: true }), { minLength: 1, maxLength: 20 }), (values) => {
        const { at, ticks } = logScale(values, SPAN);
        const places = values.toSorted((a, b) => a - b).map(at);
        for (const place of places) expect(place >= -1e-6 && place <= 200 + 1e-6).toBe(true);
        expect(places).toEqual(places.toSorted((a, b) => b - a));
        expect(ticks.length).toBeGreaterThanOrEqual(2);
        expect(ticks.length).toBeLessThanOrEqual(14);
      }),
      { seed: 6, numRuns: 300 },
    );
  });
});

describe("a linear axis", () => {
  it("goes to a round number, or to the value itself", () => {
    expect(linearScale(83, SPAN).ticks).toEqual([0, 25, 50, 75, 100]);
    expect(linearScale(83, SPAN).at(100)).toBe(0);
    expect(linearScale(83, SPAN, "exact").ticks).toEqual([0, 25, 50, 75]);
    expect(linearScale(83, SPAN, "exact").at(83)).toBe(0);
  });

  it("stands where all is 0", () => {
    expect(linearScale(0, SPAN).at(0)).toBe(200);
  });
});

describe("names beside line ends", () => {
  it("stay where they do not touch, and move apart where they do", () => {
    expect(spread([10, 50, 90], 13, { from: 0, to: 100 })).toEqual([10, 50, 90]);
    expect(spread([50, 50, 10], 13, { from: 0, to: 100 })).toEqual([50, 63, 10]);
    expect(spread([99, 98], 13, { from: 0, to: 100 })).toEqual([100, 87]);
  });

  it("keep their order and their distance, inside where there is room", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: -20, max: 250, noNaN: true }), { maxLength: 15 }), (wanted) => {
        const places = spread(wanted, 13, { from: 0, to: 200 });
        const order = wanted.map((_, index) => index).toSorted((a, b) => (wanted[a] ?? 0) - (wanted[b] ?? 0) || a - b);
        for (const [position, index] of order.entries()) {
          const place = places[index] ?? Number.NaN;
          expect(place).toBeGreaterThanOrEqual(-1e-9);
          expect(place).toBeLessThanOrEqual(200);
          if (position > 0) expect(place - (places[order[position - 1] ?? 0] ?? 0)).toBeGreaterThanOrEqual(13 - 1e-9);
        }
      }),
      { seed: 6, numRuns: 300 },
    );
  });
});
