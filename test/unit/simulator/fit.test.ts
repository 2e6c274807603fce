import { describe, expect, it } from "vitest";
import { seededDraw, wholeBetween } from "../../../simulator/chance.ts";
import { ENGINES } from "../../../simulator/constants.ts";
import { fitConstants, type LogRow } from "../../../simulator/fit.ts";
import { pairsOf } from "../../../simulator/step-time.ts";

const ENGINE = ENGINES["llama-8b-h100"];

/** `noise` in each direction; every tenth row held up tenfold when `outliers`. */
function rows(count: number, noise: number, outliers: boolean): LogRow[] {
  const draw = seededDraw(9);
  return Array.from({ length: count }, (_, at) => {
    const cachedTokens = wholeBetween(draw, 0, 20_000);
    const computed = wholeBetween(draw, 10, 30_000);
    const inFlight = wholeBetween(draw, 1, 64);
    const contextTokens = inFlight * wholeBetween(draw, 500, 8_000);
    const outputTokens = wholeBetween(draw, 2, 500);
    const steps = Math.ceil(computed / 8_192);
    const others = (inFlight - 1) / inFlight;
    const step = ENGINE.baseMs + ENGINE.decodeMsPerSequence * inFlight + ENGINE.decodeMsPerContextToken * contextTokens;
    const beside = ENGINE.decodeMsPerSequence * (inFlight - 1) + ENGINE.decodeMsPerContextToken * contextTokens * others;
    const prefillMs =
      steps * (ENGINE.baseMs + beside) + ENGINE.prefillMsPerToken * computed + ENGINE.attentionMsPerPair * pairsOf(computed, cachedTokens);
    const shaken = (): number => (outliers && at % 10 === 0 ? 10 : 1) * (1 + noise * (2 * draw() - 1));
    const promptTokens = cachedTokens + computed;
    return {
      promptTokens,
      cachedTokens,
      prefillMs: prefillMs * shaken(),
      outputTokens,
      decodeMs: (outputTokens - 1) * step * shaken(),
      inFlight,
      contextTokens,
    };
  });
}

describe("fitting an engine's constants", () => {
  it.each([
    ["finds them exactly without noise", 0, false, 1e-6],
    ["finds them nearly with noise", 0.1, false, 0.1],
    ["is not led astray by rows that something held up", 0.05, true, 0.15],
  ] as const)("%s", (_name, noise, outliers, within) => {
    const fitted = fitConstants(rows(400, noise, outliers), 8_192);
    if (fitted.kind !== "fit") throw new Error(fitted.kind);
    for (const key of ["baseMs", "prefillMsPerToken", "attentionMsPerPair", "decodeMsPerSequence", "decodeMsPerContextToken"] as const)
      expect(Math.abs(fitted.constants[key] / ENGINE[key] - 1), key).toBeLessThan(within * (key === "decodeMsPerSequence" ? 3 : 1));
    expect(fitted.medianError).toBeLessThan(noise + 1e-6);
  });

  it("says when there is too little to go by", () => {
    expect(fitConstants(rows(3, 0, false), 8_192)).toEqual({ kind: "too-few", rows: 6, needed: 10 });
  });

  it("gives no constant below 0, whatever the rows say", () => {
    const odd = rows(50, 0, false).map((row) => ({ ...row, decodeMs: (1e6 * row.outputTokens) / row.inFlight }));
    const fitted = fitConstants(odd, 8_192);
    if (fitted.kind !== "fit") throw new Error(fitted.kind);
    for (const value of Object.values(fitted.constants)) expect(value).toBeGreaterThanOrEqual(0);
  });
});
