/** What a decision looks like once it is known what came of it. */
import { decide } from "../decision/decide.ts";
import type { ExplainRecord } from "./record.ts";
import { firstTokenMs } from "../decision/first-token.ts";
import { unpackView } from "./packed-view.ts";
import { percentile } from "./percentile.ts";

export interface Hindsight {
  /** To the first token, as it is predicted with the prompt's true length; with a transfer, as it was predicted then. */
  predictedMs: number;
  /** As it came. */
  actualMs: number;
  /** The least that is predicted for any replica that could have taken it, or the actual time where that is less. */
  bestMs: number;
  /** Name of that replica. */
  best: string;
  /** actualMs - bestMs: what another choice seems to have been worth. Of others only the prediction is known: a bound, not a fact. */
  regretMs: number;
  /** How much sooner another was predicted already then, with that length: what was given up for the sake of others, or by a profile that does not look at time. */
  foreseenMs: number;
}

/** Null until the first token was reported, and for a decision that chose nobody. */
export function hindsightOf(record: ExplainRecord): Hindsight | null {
  const { ttftMs: actualMs, promptTokens } = record.outcome;
  if (actualMs === null || promptTokens === null) return null;
  const request = { ...record.request, promptTokens };
  const { candidates } = decide(unpackView(record.view), request, record.profile, record.draw, record.turn);
  const own = candidates[record.decision.chosen ?? -1];
  if (own === undefined) return null;
  const predictedMs = firstTokenMs(own, record.decision.transfer);
  let [otherMs, other] = [Infinity, own.name];
  for (const candidate of candidates) {
    if (candidate === own || candidate.barred !== null || candidate.predictedTtftMs >= otherMs) continue;
    otherMs = candidate.predictedTtftMs;
    other = candidate.name;
  }
  const [bestMs, best] = otherMs < actualMs ? [otherMs, other] : [actualMs, own.name];
  return { predictedMs, actualMs, bestMs, best, regretMs: actualMs - bestMs, foreseenMs: Math.max(0, predictedMs - otherMs) };
}

/** Over several decisions. */
export interface HindsightSummary {
  /** Those with a first token; the rest is about them. */
  known: number;
  actualMeanMs: number;
  /** How far predictions were off, in either direction. */
  errorP50Ms: number;
  errorP90Ms: number;
  regretMeanMs: number;
  regretP99Ms: number;
  foreseenMeanMs: number;
}

export function summaryOf(known: readonly Hindsight[]): HindsightSummary {
  const errors = Float64Array.from(known, ({ actualMs, predictedMs }) => Math.abs(actualMs - predictedMs)).sort();
  const regrets = Float64Array.from(known, ({ regretMs }) => regretMs).sort();
  return {
    known: known.length,
    actualMeanMs: meanOf(known.map(({ actualMs }) => actualMs)),
    errorP50Ms: percentile(errors, 0.5),
    errorP90Ms: percentile(errors, 0.9),
    regretMeanMs: meanOf(regrets),
    regretP99Ms: percentile(regrets, 0.99),
    foreseenMeanMs: meanOf(known.map(({ foreseenMs }) => foreseenMs)),
  };
}

function meanOf(values: ArrayLike<number> & Iterable<number>): number {
  let sum = 0;
  for (const value of values) sum += value;
  return values.length === 0 ? 0 : sum / values.length;
}
