import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { COLD_TRANSFER_MS_PER_TOKEN, RateBook } from "../../../src/rates/rate-book.ts";
import { dice } from "../decision/views.ts";

/** A prefill alone on its replica; reports lie far apart. */
function alone(uncachedTokens: number, prefillMs: number, cachedTokens = 0, endedAtMs = 0) {
  return { uncachedTokens, cachedTokens, prefillMs, endedAtMs, untold: 0 };
}

describe("learnt rates", () => {
  it("start cold, then from the pool's, then their own", () => {
    const rates = new RateBook();
    expect([rates.prefillMsPerToken(0), rates.known]).toEqual([1, false]);
    expect(rates.of(0)).toMatchObject({ attentionMsPerPair: 0, decodeMsPerSequence: 1, decodeMsPerContextToken: 0.001 });
    expect([rates.bytesPerToken, rates.meanOutputTokens, rates.promptTokens(10), rates.promptTokens(0)]).toEqual([4, 256, 3, 1]);
    rates.reportPrefill(0, alone(1_000, 50));
    // At most a fourth of what was believed, whatever the first report says.
    expect(rates.prefillMsPerToken(0)).toBeGreaterThan(0.2);
    expect(rates.prefillMsPerToken(1)).toBe(rates.prefillMsPerToken(0));
    expect(rates.known).toBe(true);
    for (let n = 1; n < 40; n++) rates.reportPrefill(0, alone(1_000, 50, 0, n * 1_000));
    for (let n = 0; n < 40; n++) rates.reportPrefill(1, alone(1_000, 500, 0, n * 1_000));
    const total = (slot: number) => rates.of(slot).prefillMsPerToken + rates.of(slot).attentionMsPerPair * 500;
    expect(total(1)).toBeGreaterThan(0.2);
    expect(total(1)).toBeLessThan(0.6);
    // The few reports before the other was known to be slow are in the pool's fit.
    expect(total(0)).toBeLessThan(0.1);
    rates.forgetReplica(0);
    expect(total(0)).toBeGreaterThan(0.15);
  });

  it("believe one report at most four times, and nothing that is no number", () => {
    const rates = new RateBook();
    for (let n = 0; n < 50; n++) rates.reportPrefill(0, alone(1_000, 100, 0, n * 1_000));
    rates.reportPrefill(0, alone(1_000, 1_000_000, 0, 60_000));
    expect(rates.prefillMsPerToken(0)).toBeLessThan(0.11);
    for (const [tokens, ms] of [
      [0, 5],
      [5, 0],
      [-1, 5],
      [5, NaN],
      [Infinity, 5],
    ] as const)
      rates.reportPrefill(0, alone(tokens, ms));
    expect(rates.prefillMsPerToken(0)).toBeLessThan(0.11);
    expect(() => rates.reportPrefill(64, alone(1, 1))).toThrow(RangeError);
  });

  it("of loads and transfers come from reports, and from guesses before", () => {
    const rates = new RateBook();
    expect(rates.loadMsPerToken(0)).toBe(0.25);
    expect(rates.transferMsPerToken(0)).toBe(COLD_TRANSFER_MS_PER_TOKEN);
    for (let n = 0; n < 40; n++) {
      rates.reportLoad(0, 1_000, 7);
      rates.reportTransfer(1, 1_000, 90);
    }
    expect([rates.loadMsPerToken(0), rates.loadMsPerToken(1), rates.transferMsPerToken(0)]).toEqual([
      expect.closeTo(0.007, 3),
      expect.closeTo(0.007, 3),
      expect.closeTo(0.09, 2),
    ]);
    for (let n = 0; n < 40; n++) rates.reportTransfer(0, 1_000, 30);
    expect([rates.transferMsPerToken(0), rates.transferMsPerToken(1)]).toEqual([expect.closeTo(0.03, 2), expect.closeTo(0.09, 2)]);
    rates.forgetReplica(1);
    expect(rates.transferMsPerToken(1)).toBeCloseTo(0.03, 2);
  });

  it("move at most fourfold by a first report", () => {
    for (const times of [1e-6, 1e-3, 1e3, 1e6]) {
      const rates = new RateBook();
      rates.reportTransfer(0, 300, 300 * COLD_TRANSFER_MS_PER_TOKEN * times);
      rates.reportLoad(0, 300, 75 * times);
      rates.reportPrompt(4_000 * times, 1_000);
      rates.reportOutput(256 * times);
      rates.reportPrefill(0, alone(1_000, 1_000 * times));
      rates.reportFirstToken(0, 1_000, 1_000 * times, 0);
      const { transferMsPerToken, loadMsPerToken, prefillMsPerToken, ttftExtraMs, ttftStretch } = rates.of(0);
      const moved = {
        transfer: transferMsPerToken / COLD_TRANSFER_MS_PER_TOKEN,
        load: loadMsPerToken / 0.25,
        bytes: rates.bytesPerToken / 4,
        output: rates.meanOutputTokens / 256,
        prefill: prefillMsPerToken,
        firstToken: (ttftExtraMs + ttftStretch * 1_000) / 1_000,
      };
      for (const by of Object.values(moved)) {
        expect(by).toBeGreaterThan(0.24);
        expect(by).toBeLessThan(4.1);
      }
    }
  });

  it.each([
    [
      "loads",
      (rates: RateBook) => rates.reportLoad(0, 300, 3_000),
      (rates: RateBook) => rates.declinedLoad(0),
      (rates: RateBook) => rates.loadMsPerToken(0),
      0.3,
    ],
    [
      "transfers",
      (rates: RateBook) => rates.reportTransfer(0, 300, 200),
      (rates: RateBook) => rates.declinedTransfer(0),
      (rates: RateBook) => rates.transferMsPerToken(0),
      0.05,
    ],
  ] as const)("of slow %s are doubted, decision by decision and in time", (_name, slow, decline, rateOf, soon) => {
    const rates = new RateBook();
    for (let n = 0; n < 30; n++) slow(rates);
    const believed = rateOf(rates);
    expect(believed).toBeGreaterThan(10 * soon);
    const declined = new RateBook();
    declined.restore(rates.save());
    for (let n = 0; n < 100; n++) decline(declined);
    expect(rateOf(declined)).toBeLessThan(soon);
    // Ten minutes in which nobody tries.
    for (let nowMs = 0; nowMs <= 600_000; nowMs += 250) rates.tick(nowMs);
    expect(rateOf(rates)).toBeLessThan(soon);
    slow(rates);
    expect(rateOf(rates)).toBeLessThan(believed);
  });

  it("of a slow replica that says nothing go back to the pool's, and those of one that goes on saying so do not", () => {
    const rates = new RateBook();
    const step = (slot: number) => rates.of(slot).decodeMsPerStep * rates.of(slot).decodeStretch + rates.prefillMsPerToken(slot);
    const tell = (slot: number, times: number, atMs: number): void => {
      rates.reportPrefill(slot, alone(1_000, 100 * times, 0, atMs));
      rates.reportDecode(slot, { outputTokens: 100, decodeMs: 1_000 * times, sequences: 1, contextTokens: 1_000, prefilledMs: 0 });
    };
    let nowMs = 0;
    for (; nowMs < 60_000; nowMs += 1_000) {
      for (const [slot, times] of [1, 1, 3, 3].entries()) tell(slot, times, nowMs);
      rates.tick(nowMs);
    }
    const [quick, slow] = [step(0), step(2)];
    expect(slow).toBeGreaterThan(2 * quick);
    for (; nowMs < 240_000; nowMs += 1_000) {
      for (const [slot, times] of [1, 1, 3].entries()) tell(slot, times, nowMs);
      rates.tick(nowMs);
    }
    expect(step(2)).toBeGreaterThan(2 * step(0));
    expect(step(3)).toBeLessThan(1.5 * step(0));
    // One report and it is known to be slow again.
    tell(3, 3, nowMs);
    expect(step(3)).toBeGreaterThan(1.15 * step(0));
  });

  it("learn bytes per token and output length", () => {
    const rates = new RateBook();
    for (let n = 0; n < 60; n++) {
      rates.reportPrompt(3_000, 1_000);
      rates.reportOutput(80);
    }
    expect(rates.promptTokens(300)).toBe(100);
    expect(rates.meanOutputTokens).toBeCloseTo(80, 0);
  });
});

describe("fits", () => {
  const truths = fc.record({
    b: fc.double({ min: 0.01, max: 2, noNaN: true }),
    /** Context at which attention costs as much as the rest. */
    knee: fc.double({ min: 5_000, max: 60_000, noNaN: true }),
    seed: fc.integer({ min: 1, max: 1e9 }),
  });

  /** A hundred prefills with 20 % of noise, one in twenty 3 to 20 times too long. */
  function prefills(rates: RateBook, b: number, q: number, roll: () => number, reports = 100): void {
    for (let n = 0; n < reports; n++) {
      const u = 64 + Math.floor(roll() ** 2 * 16_000);
      const h = roll() < 0.3 ? 0 : Math.floor(roll() * 40_000);
      const noise = roll() < 0.05 ? 3 + 17 * roll() : 0.8 + 0.4 * roll();
      rates.reportPrefill(3, alone(u, (b * u + q * u * (h + u / 2)) * noise, h, n * 1e7));
    }
  }

  it("find prefill and attention within a hundred reports, whatever is wrong with a few of them", () => {
    fc.assert(
      fc.property(truths, ({ b, knee, seed }) => {
        const rates = new RateBook();
        const q = b / knee;
        prefills(rates, b, q, dice(seed));
        const { prefillMsPerToken, attentionMsPerPair } = rates.of(3);
        for (const [u, h] of [
          [500, 20_000],
          [4_000, 10_000],
          [12_000, 0],
        ] as const) {
          const told = prefillMsPerToken * u + attentionMsPerPair * u * (h + u / 2);
          const truth = b * u + q * u * (h + u / 2);
          expect(told / truth).toBeGreaterThan(0.8);
          expect(told / truth).toBeLessThan(1.5);
        }
      }),
      { seed: 29, numRuns: 100 },
    );
  });

  it("follow a machine that became ten times slower, or faster", () => {
    for (const factor of [10, 0.1]) {
      const rates = new RateBook();
      const roll = dice(7);
      prefills(rates, 0.05, 0.05 / 20_000, roll);
      prefills(rates, 0.05 * factor, (0.05 / 20_000) * factor, roll);
      const { prefillMsPerToken, attentionMsPerPair } = rates.of(3);
      const ratio = (prefillMsPerToken + attentionMsPerPair * 14_000) / ((0.05 + (0.05 / 20_000) * 14_000) * factor);
      expect(ratio).toBeGreaterThan(0.7);
      expect(ratio).toBeLessThan(1.5);
    }
  });

  it("share the time of prefills that ran side by side", () => {
    const rates = new RateBook();
    const roll = dice(11);
    // One begins when the other is half done, and both go on at half the speed: what the first does not know of makes it seem slow.
    for (let n = 0; n < 80; n++) {
      const [first, second] = [2_000 + Math.floor(roll() * 6_000), 6_000 + Math.floor(roll() * 6_000)];
      const [atMs, ms] = [n * 1e6, 0.05];
      const together = first;
      const firstMs = (first / 2) * ms + together * ms;
      const secondMs = together * ms + (second - first / 2) * ms;
      rates.reportPrefill(0, { ...alone(first, firstMs, 0, atMs + firstMs), untold: 1 });
      rates.reportPrefill(0, alone(second, secondMs, 0, atMs + (first / 2) * ms + secondMs));
    }
    const { prefillMsPerToken, attentionMsPerPair } = rates.of(0);
    expect((prefillMsPerToken * 8_000 + (attentionMsPerPair * 8_000 ** 2) / 2) / (0.05 * 8_000)).toBeGreaterThan(0.5);
    expect((prefillMsPerToken * 8_000 + (attentionMsPerPair * 8_000 ** 2) / 2) / (0.05 * 8_000)).toBeLessThan(1.5);
  });

  it("lay what every prefill takes, however short, on none of its tokens, and never all of it", () => {
    const rates = new RateBook();
    const roll = dice(5);
    for (let n = 0; n < 100; n++) {
      const u = 50 + Math.floor(roll() * 2_000);
      rates.reportPrefill(0, alone(u, 15 + 0.03 * u, 0, n * 1e6));
    }
    expect(rates.of(0).prefillMsPerToken + rates.of(0).attentionMsPerPair * 500).toBeCloseTo(0.03, 2);
    const alike = new RateBook();
    for (let n = 0; n < 100; n++) alike.reportPrefill(0, alone(1_000 + (n % 2) * 1_000, 100, 0, n * 1e6));
    expect(alike.of(0).prefillMsPerToken).toBeGreaterThan(0.007);
  });

  it("find what a sequence and a token of context add to a step", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.01, max: 0.3, noNaN: true }),
        fc.double({ min: 1e-5, max: 2e-4, noNaN: true }),
        fc.integer(),
        (c, d, seed) => {
          const rates = new RateBook();
          const roll = dice(seed);
          for (let n = 0; n < 10; n++) rates.reportPrefill(0, alone(1_000, 30, 0, n * 1_000));
          for (let n = 0; n < 150; n++) {
            const sequences = 1 + Math.floor(roll() * 60);
            const contextTokens = sequences * (500 + roll() * 6_000);
            const noise = roll() < 0.05 ? 3 : 0.9 + 0.2 * roll();
            const outputTokens = 20 + Math.floor(roll() * 400);
            const decodeMs = (7 + c * sequences + d * contextTokens) * (outputTokens - 1) * noise;
            rates.reportDecode(0, { outputTokens, decodeMs: decodeMs + 50, sequences, contextTokens, prefilledMs: 50 });
          }
          const { decodeMsPerSequence, decodeMsPerContextToken } = rates.of(0);
          // Of the step's part that grows with load, at a busy moment.
          const told = 50 * decodeMsPerSequence + 150_000 * decodeMsPerContextToken;
          const truth = 50 * c + 150_000 * d;
          expect(Math.abs(told - truth) / (7 + truth)).toBeLessThan(0.35);
        },
      ),
      { seed: 37, numRuns: 60 },
    );
  });
});
