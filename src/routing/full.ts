import type { CandidateView } from "./decision.ts";

/**
 * No place in its queue, or its KV cache would not hold what runs there by the time they are half done. An idle replica is never full.
 *
 * @param newTokens what the request would add to its device's KV cache.
 */
export function isFull(candidate: CandidateView, newTokens: number, meanOutputTokens: number): boolean {
  if (candidate.inFlight >= candidate.sequences + candidate.queueLimit) return true;
  if (candidate.inFlight === 0) return false;
  return candidate.liveKvTokens + newTokens + (meanOutputTokens / 2) * (candidate.inFlight + 1) > candidate.kvTokens;
}
