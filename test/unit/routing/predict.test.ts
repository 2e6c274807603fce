import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { COLD_TRANSFER_MS_PER_TOKEN, RateBook } from "../../../src/routing/predict.ts";

describe("learnt rates", () => {
  it("start cold, then from the pool's mean, then their own", () => {
    const rates = new RateBook();
    expect(rates.prefillMsPerToken(0)).toBe(1);
    expect([rates.bytesPerToken, rates.meanOutputTokens, rates.promptTokens(10), rates.promptTokens(0)]).toEqual([4, 256, 3, 1]);
    rates.reportPrefill(0, 1_000, 50);
    expect(rates.prefillMsPerToken(0)).toBe(0.05);
    expect(rates.prefillMsPerToken(1)).toBe(0.05);
    for (let n = 0; n < 40; n++) rates.reportPrefill(1, 1_000, 500);
    expect(rates.prefillMsPerToken(1)).toBeCloseTo(0.5, 2);
    expect(rates.prefillMsPerToken(0)).toBe(0.05);
    rates.forgetReplica(0);
    expect(rates.prefillMsPerToken(0)).toBeGreaterThan(0.4);
  });

  it("believe one report at most four times, and nothing that is no number", () => {
    const rates = new RateBook();
    for (let n = 0; n < 50; n++) rates.reportPrefill(0, 1_000, 100);
    rates.reportPrefill(0, 1_000, 1_000_000);
    expect(rates.prefillMsPerToken(0)).toBeLessThan(0.14);
    for (const [tokens, ms] of [
      [0, 5],
      [5, 0],
      [-1, 5],
      [5, NaN],
      [Infinity, 5],
    ] as const)
      rates.reportPrefill(0, tokens, ms);
    expect(rates.prefillMsPerToken(0)).toBeLessThan(0.14);
    expect(() => rates.reportPrefill(64, 1, 1)).toThrow(RangeError);
  });

  it("find the true rate from noisy reports of any length", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 16, max: 20_000 }), fc.double({ min: 0.8, max: 1.2, noNaN: true })), { minLength: 40 }),
        (reports) => {
          const rates = new RateBook();
          for (const [tokens, noise] of reports) rates.reportPrefill(3, tokens, tokens * 0.2 * noise);
          expect(rates.prefillMsPerToken(3)).toBeGreaterThanOrEqual(0.159);
          expect(rates.prefillMsPerToken(3)).toBeLessThanOrEqual(0.241);
        },
      ),
      { seed: 29, numRuns: 100 },
    );
  });

  it("of loads and transfers come from reports, and from guesses before", () => {
    const rates = new RateBook();
    rates.reportPrefill(0, 1_000, 100);
    expect([rates.loadMsPerToken(0), rates.transferMsPerToken(0)]).toEqual([0.025, COLD_TRANSFER_MS_PER_TOKEN]);
    rates.reportLoad(0, 1_000, 7);
    rates.reportTransfer(1, 1_000, 90);
    expect([rates.loadMsPerToken(0), rates.loadMsPerToken(1), rates.transferMsPerToken(0)]).toEqual([0.007, 0.007, 0.09]);
    for (let n = 0; n < 40; n++) rates.reportTransfer(0, 1_000, 30);
    expect([rates.transferMsPerToken(0), rates.transferMsPerToken(1)]).toEqual([expect.closeTo(0.03, 2), 0.09]);
    rates.forgetReplica(1);
    expect(rates.transferMsPerToken(1)).toBeCloseTo(0.03, 2);
    expect(rates.prefillMsPerToken(0)).toBe(0.1);
  });

  it("learn bytes per token and output length", () => {
    const rates = new RateBook();
    for (let n = 0; n < 60; n++) {
      rates.reportPrompt(3_000, 1_000);
      rates.reportOutput(80);
    }
    expect(rates.promptTokens(300)).toBe(100);
    expect(rates.meanOutputTokens).toBeCloseTo(80, 5);
  });
});
