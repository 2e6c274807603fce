/** What the words and signs of a report mean, for a reader who has never seen one. */
import { CELL_LIMITS } from "../../simulator/comparison.ts";
import { escapeText } from "./markup.ts";
import { times } from "./quantities.ts";

export const LIMITS_IN_WORDS = `${times(CELL_LIMITS.ttftMeanMs)} for the mean TTFT, ${times(CELL_LIMITS.ttftP99Ms)} for its p99, ${times(CELL_LIMITS.tpotMeanMs)} for TPOT`;

export const SLO_IN_WORDS = "the first token within 2 s, and at most 50 ms per token after it";

const TERMS: readonly (readonly [string, string])[] = [
  ["TTFT", "Time to the first token: from the request's arrival to its first output token. p50 and p99 are percentiles over requests."],
  ["TPOT", "Time per output token after the first one, as a mean over tokens."],
  ["E2E", "End to end: from the request's arrival to its last output token."],
  [
    "Load",
    "Share of the rate that the fleet completes at most under a plain policy. At load 0.9 requests arrive at 90 % of that rate. A policy that reuses more of the cache can complete more than load 1.",
  ],
  ["SLO", `Service level objective: ${SLO_IN_WORDS}. SLO capacity is the highest arrival rate at which 90 % of requests meet it.`],
  ["Cell", "One workload at one load on one engine model. Every policy gets the same requests at the same times in it."],
  ["Cached", "Share of the prompt tokens that were in a cache. The ceiling is the share of one cache for all that never evicts."],
  ["▲", `Above the limit against the best peer: ${LIMITS_IN_WORDS}. A smaller difference is noise.`],
];

/** A list of terms, as markup. */
export function readingGuide(): string {
  const rows = TERMS.map(([term, meaning]) => `<dt>${escapeText(term)}</dt><dd>${escapeText(meaning)}</dd>`);
  return `<dl class="terms">${rows.join("")}</dl>`;
}
