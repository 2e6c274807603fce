import type { CandidateView } from "./decision.ts";

/**
 * Of their answers, what those who run are taken to have written when most is held at once: half of them on average, and room for their number and
 * lengths to vary. An engine that runs out throws somebody's work away. On tuning seeds, of 0.5, 0.6, 0.7 and 0.85, this kept most good answers at twice the load.
 */
const WRITTEN_SHARE = 0.7;

/**
 * No place in its queue, or its KV cache would not hold what runs there by the time they have written so much. An idle replica is never full.
 *
 * @param newTokens what the request would add to its device's KV cache.
 */
export function isFull(candidate: CandidateView, newTokens: number, meanOutputTokens: number): boolean {
  if (candidate.inFlight >= candidate.sequences + candidate.queueLimit) return true;
  if (candidate.inFlight === 0) return false;
  const each = WRITTEN_SHARE * meanOutputTokens;
  // Where many are that far, as many end as go on.
  const toWrite = Math.max(0, each * candidate.inFlight - candidate.outputTokens) + each;
  return candidate.liveKvTokens + newTokens + toWrite > candidate.kvTokens;
}

/** Of the pace that a client wants, what is aimed at: steps differ, and what is learnt of them is a mean. */
const AIMED_SHARE = 0.95;
/** A pool that has reported nothing yet is trusted with twice so many side by side; and with twice what was seen as it goes on. */
const LEAST_SEEN = 8;
/** Whatever is predicted, nobody waits so long. */
const MOST_AWAITED_MS = 600_000;

/**
 * How long a request would wait until, with it among them, tokens would come as often as its client wants them, ms; 0: they do now. Requests end at
 * the rate of n in their mean time there, output * (S + C*n + D*L), and each that ends shortens the step by its own part. An idle replica is never
 * waited for: nothing would get better.
 */
export function awaitedMs(candidate: CandidateView, promptTokens: number, meanOutputTokens: number, tpotMs: number): number {
  const { inFlight, contextTokens, rates } = candidate;
  const { decodeMsPerStep, decodeMsPerSequence, decodeMsPerContextToken, decodeStretch, decodeSequencesSeen } = rates;
  if (inFlight === 0 || decodeStretch === 0) return 0;
  const sequences = inFlight + 1;
  // Half of its own answer is written by then; of the others', as much as is now.
  const context = contextTokens + promptTokens + meanOutputTokens / 2;
  const sharedMs = decodeMsPerSequence * sequences + decodeMsPerContextToken * context;
  const unseen = sequences / (2 * Math.max(LEAST_SEEN, decodeSequencesSeen));
  const stepMs = Math.max(decodeMsPerStep + sharedMs, unseen > 1 ? unseen * AIMED_SHARE * tpotMs : 0);
  const excessMs = decodeStretch * stepMs - AIMED_SHARE * tpotMs;
  return excessMs <= 0 || sharedMs === 0 ? 0 : Math.min(MOST_AWAITED_MS, (excessMs * meanOutputTokens * stepMs) / sharedMs);
}
