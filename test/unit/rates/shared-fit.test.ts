import { describe, expect, it } from "vitest";
import { SharedFits } from "../../../src/rates/shared-fit.ts";
import { coldPrefill, PREFILL, prefillFeatures, prefillRates } from "../../../src/rates/prefill-fit.ts";
import { RateBook } from "../../../src/rates/rate-book.ts";
import { dice } from "../decision/views.ts";

const REPORTS = process.env["WARMPATH_FULL"] === undefined ? 1_200 : 100_000;
/** ms per token, ms per pair of tokens, ms of every prefill. */
type Truth = readonly [number, number, number];
const TRUTHS: readonly Truth[] = [
  [0.5, 1e-4, 5],
  [0.05, 2.5e-6, 8],
  [2, 1e-3, 30],
];
type Mix = (roll: () => number, report: number) => number;
/** Lengths that come, and some of those. */
const MIXES: Readonly<Record<string, [Mix, readonly number[]]>> = {
  "of one length": [() => 10, [10]],
  short: [(roll) => 1 + Math.floor(roll() * 50), [2, 10, 40]],
  long: [(roll) => 2_000 + Math.floor(roll() * 14_000), [2_000, 8_000, 15_000]],
  "of all lengths": [(roll) => Math.floor(2 ** (1 + roll() * 13)), [2, 10, 100, 2_000, 8_000, 15_000]],
  "in bursts": [
    (roll, report) => (Math.floor(report / 300) % 2 === 1 ? 8 + Math.floor(roll() * 8) : 1_000 + Math.floor(roll() * 4_000)),
    [10, 2_000, 4_000],
  ],
};
type Pace = (replica: number, report: number) => number;
const PACES: Readonly<Record<string, Pace>> = {
  alike: () => 1,
  "one 4 times slower": (replica) => (replica === 0 ? 4 : 1),
  "5 times slower from half of the time on": (_replica, report) => (report < REPORTS / 2 ? 1 : 5),
};

const timeOf = ([b, q, c]: Truth, tokens: number): number => b * tokens + (q * tokens * tokens) / 2 + c;
const featuresOf = (tokens: number) => prefillFeatures({ tokens, pairs: (tokens * tokens) / 2 });
const COLD = coldPrefill(1);

function predict(fits: SharedFits, replica: number, tokens: number): number {
  const { perToken, perPair, fixedMs } = prefillRates(fits.of(replica) ?? []);
  return timeOf([perToken, perPair, fixedMs], tokens);
}

describe("the time of a prefill", () => {
  const cases = Object.keys(MIXES).flatMap((mix) => Object.keys(PACES).map((pace) => [mix, pace] as const));

  it.each(cases)("is known within a factor, from prompts %s, replicas %s, whatever their number", { timeout: 60_000 }, (mix, pace) => {
    const [draw, lengths] = MIXES[mix] ?? [() => 0, []];
    // Where times have changed nobody can know it of lengths that have not come again since.
    const seenWithin = pace.startsWith("5 times") ? 2.5 : 2;
    for (const [at, truth] of TRUTHS.entries()) {
      for (const replicas of [1, 2, 8, 64]) {
        const roll = dice(97 * at + replicas);
        const fits = new SharedFits(PREFILL);
        const settledAfter = 100 * replicas;
        let [least, most] = [Infinity, 0];
        for (let report = 0; report < REPORTS; report++) {
          // Times that have changed are known of lengths that came since.
          if (report === REPORTS / 2) [least, most] = [Infinity, 0];
          const tokens = draw(roll, report);
          const replica = Math.floor(roll() * replicas);
          const paceOf = (slot: number): number => PACES[pace]?.(slot, report) ?? 1;
          const noise = Math.exp(1.2 * (roll() - 0.5));
          fits.add(replica, featuresOf(tokens), timeOf(truth, tokens) * paceOf(replica) * noise, COLD, 1);
          [least, most] = [Math.min(least, tokens), Math.max(most, tokens)];
          if (report % (REPORTS / 2) < settledAfter || report % 61 !== 0) continue;
          for (const slot of new Set([0, replicas - 1])) {
            for (const length of [...lengths, 2, 40, 100, 200, 1_000, 20_000, 60_000]) {
              const seen = length >= least && length <= most;
              const isWithin = (times: number): boolean => length > least / times && length < times * most;
              const within = seen && lengths.includes(length) ? seenWithin : isWithin(4) ? 4 : isWithin(10) ? 10 : Infinity;
              const times = predict(fits, slot, length) / (timeOf(truth, length) * paceOf(slot));
              expect(times, `${length} tokens after ${report} reports of ${replicas} replicas`).toBeGreaterThan(1 / within);
              expect(times, `${length} tokens after ${report} reports of ${replicas} replicas`).toBeLessThan(within);
            }
          }
        }
      }
    }
  });

  it("does not drift while only one length comes, and what was said of others is kept", () => {
    const truth: Truth = [0.5, 1e-4, 5];
    const roll = dice(7);
    const fits = new SharedFits(PREFILL);
    const add = (tokens: number, report: number) =>
      fits.add(report % 2, featuresOf(tokens), timeOf(truth, tokens) * Math.exp(1.2 * (roll() - 0.5)), COLD, 1);
    for (let report = 0; report < 200; report++) add(8 + Math.floor(roll() * 4_000), report);
    const before = predict(fits, 0, 2_000);
    for (let report = 0; report < 20 * REPORTS; report++) add(10, report);
    expect(predict(fits, 0, 10) / timeOf(truth, 10)).toBeGreaterThan(0.5);
    expect(predict(fits, 0, 10) / timeOf(truth, 10)).toBeLessThan(2);
    expect(predict(fits, 0, 2_000) / before).toBeGreaterThan(0.5);
    expect(predict(fits, 0, 2_000) / before).toBeLessThan(2);
  });

  it("heals from a fivefold change of all replicas, or of one, within twenty reports of each", () => {
    for (const changed of [[0], [0, 1]] as const) {
      for (const factor of [5, 0.2]) {
        const roll = dice(3);
        const fits = new SharedFits(PREFILL);
        const add = (replica: number, times: number) => {
          const tokens = 500 + Math.floor(roll() * 500);
          const ms = timeOf([0.5, 1e-5, 5], tokens) * times * Math.exp(0.4 * (roll() - 0.5));
          fits.add(replica, featuresOf(tokens), ms, COLD, 1);
        };
        for (let report = 0; report < 200; report++) add(report % 2, 1);
        for (let report = 0; report < 40; report++) add(report % 2, (changed as readonly number[]).includes(report % 2) ? factor : 1);
        for (const replica of [0, 1]) {
          const truth = timeOf([0.5, 1e-5, 5], 750) * ((changed as readonly number[]).includes(replica) ? factor : 1);
          expect(predict(fits, replica, 750) / truth, `${replica} of ${changed.join()} times ${factor}`).toBeGreaterThan(1 / 2);
          expect(predict(fits, replica, 750) / truth, `${replica} of ${changed.join()} times ${factor}`).toBeLessThan(2);
        }
      }
    }
  });

  it("of a replica is its own after fifty honest reports, whatever another one says", () => {
    const odd: readonly ((roll: () => number) => number)[] = [() => 300, () => 3.6e6, () => 1e-3, (roll) => 10 ** (12 * roll() - 3)];
    for (const said of odd) {
      for (const times of [1, 50]) {
        const roll = dice(11);
        const fits = new SharedFits(PREFILL);
        const truth: Truth = [0.1, 2e-6, 5];
        for (let report = 0; report < times; report++) fits.add(0, featuresOf(12), said(roll), COLD, 1);
        for (let report = 0; report < 50; report++) {
          const tokens = Math.floor(100 * 40 ** roll());
          fits.add(1, featuresOf(tokens), timeOf(truth, tokens) * Math.exp(0.2 * (roll() - 0.5)), COLD, 1);
          if (times > 1) fits.add(0, featuresOf(12), said(roll), COLD, 1);
        }
        for (const leaves of [false, true]) {
          if (leaves) fits.forget(0);
          for (const tokens of [200, 1_000, 4_000]) {
            const context = `${tokens} tokens, another said ${said(() => 0.5)} ${times} times${leaves ? " and left" : ""}`;
            expect(predict(fits, 1, tokens) / timeOf(truth, tokens), context).toBeGreaterThan(1 / 1.3);
            expect(predict(fits, 1, tokens) / timeOf(truth, tokens), context).toBeLessThan(1.3);
          }
        }
      }
    }
  });

  it("comes back from a checkpoint nearly as it was", () => {
    const roll = dice(5);
    const fits = new SharedFits(PREFILL);
    for (let report = 0; report < 300; report++) {
      const tokens = 10 + Math.floor(roll() * 3_000);
      fits.add(report % 3, featuresOf(tokens), timeOf([0.1, 1e-5, 9], tokens) * (1 + (report % 3)), COLD, 1);
    }
    const saved = fits.save();
    if (saved === null) throw new Error("nothing to save");
    const restored = new SharedFits(PREFILL);
    restored.restore(structuredClone(saved));
    for (const replica of [0, 1, 2, 9]) {
      for (const tokens of [20, 500, 3_000]) {
        expect(predict(restored, replica, tokens) / predict(fits, replica, tokens)).toBeGreaterThan(1 / 1.5);
        expect(predict(restored, replica, tokens) / predict(fits, replica, tokens)).toBeLessThan(1.5);
      }
    }
    expect([...(fits.of(0) ?? [])].every(Number.isFinite)).toBe(true);
  });
});

describe("any report", () => {
  it("leaves every rate finite and positive", { timeout: 60_000 }, () => {
    const extremes = [Number.MIN_VALUE, 1e-300, 1e-3, 1, 3.6e6, 1e300, Number.MAX_VALUE, Infinity, NaN, 0, -1];
    const roll = dice(23);
    const pick = (): number => extremes[Math.floor(roll() * extremes.length)] ?? 1;
    const rates = new RateBook();
    for (let report = 0; report < 1_000; report++) {
      const replica = report % 3;
      rates.reportPrefill(replica, {
        uncachedTokens: pick(),
        cachedTokens: Math.abs(pick()) || 0,
        prefillMs: pick(),
        endedAtMs: report,
        untold: report % 2,
      });
      rates.reportDecode(replica, {
        outputTokens: pick(),
        decodeMs: pick(),
        sequences: pick(),
        contextTokens: pick(),
        prefilledMs: pick(),
      });
      rates.reportLoad(replica, pick(), pick());
      rates.reportTransfer(replica, pick(), pick());
      rates.reportPrompt(pick(), pick());
      rates.reportOutput(pick());
      rates.reportFirstToken(replica, pick(), pick(), report);
      rates.tick(report * 100);
      for (const slot of [replica, 9]) {
        for (const [name, rate] of Object.entries(rates.of(slot))) {
          expect(Number.isFinite(rate), `${name} ${rate} after ${report}`).toBe(true);
          expect(rate).toBeGreaterThanOrEqual(0);
        }
      }
      expect(rates.bytesPerToken > 0 && rates.meanOutputTokens > 0).toBe(true);
      expect(Number.isFinite(rates.bytesPerToken + rates.meanOutputTokens)).toBe(true);
    }
  });
});
