/** What a transfer between two replicas costs, and what it must gain: what the cost table (cost-table.ts) is filled with. */
import { computeMs, felt, stallMs } from "./cost.ts";
import type { CandidateView, PoolView, Profile, RequestView, ScoredCandidate } from "./decision.ts";
import { BOOKING_MS } from "./wait-threshold.ts";

/** A pull of fewer tokens is not worth a connection. */
export const LEAST_PULLED_TOKENS = 256;
/** A replica that prefills for one that only decodes computes again what that one holds: at most so many times what it would compute itself. */
const MOST_EXTRA_WORK = 2;
/** A transfer that changes where the prompt goes or is computed costs less than the best without by this share, and by a booking for each replica it asks. */
const LEAST_GAIN = 0.1;
/**
 * A pull makes a second copy of what is held already, in the place of other prefixes: these come back so often, and are then as dear as what
 * was pulled. (A prefill that is computed evicts as much, but is dear enough by itself not to be chosen lightly.)
 */
const COPY_EVICTS = 0.5;

interface Pull {
  tokens: number;
  /** Of the candidate, with it. */
  cost: number;
  transferMs: number;
  /** What computing these tokens would take. */
  insteadOfMs: number;
}

/** A pull onto another replica than would be chosen without costs at most this, where the best without any transfer costs `best`. */
export function mostPulled(best: number): number {
  return gaining(best, BOOKING_MS);
}

/** A prefill elsewhere costs at most this, where the best that computes for itself, pulls included, costs `best`. */
export function mostElsewhere(best: number): number {
  return gaining(best, 2 * BOOKING_MS);
}

function gaining(best: number, leastMs: number): number {
  return Math.min(best * (1 - LEAST_GAIN), best - leastMs);
}

/** Another replica holds so much more of the prompt that it would be pulled, were the way quick enough. */
export function couldPull({ candidates }: PoolView, { replica, cachedTokens }: ScoredCandidate): boolean {
  const own = candidates.find((candidate) => candidate.replica === replica);
  if (own?.transfers !== true) return false;
  return candidates.some(
    ({ transfers, memoryTokens, eligible, prefills }) =>
      transfers && (eligible || prefills) && memoryTokens - cachedTokens > LEAST_PULLED_TOKENS,
  );
}

export function maySend({ transfers, eligible, prefills, replica }: CandidateView, { excluded, leftOut }: RequestView): boolean {
  return transfers && (eligible || prefills) && !excluded.includes(replica) && leftOut?.includes(replica) !== true;
}

/** Null: nothing is pulled, as too little is held elsewhere or it is sooner computed. `heldTokens`: what another one could send. */
export function pullFor(
  view: CandidateView,
  { cachedTokens, cost, terms }: ScoredCandidate,
  heldTokens: number,
  { weights }: Profile,
  meanOutputTokens: number,
): Pull | null {
  const tokens = heldTokens - cachedTokens;
  if (!view.transfers || tokens <= LEAST_PULLED_TOKENS) return null;
  const transferMs = tokens * view.rates.transferMsPerToken;
  const insteadOfMs = computeMs(view.rates, cachedTokens, tokens);
  if (transferMs >= insteadOfMs) return null;
  const lessMs = Math.min(terms.prefillMs, insteadOfMs);
  const lessStallMs = stallMs(felt(view), lessMs, meanOutputTokens);
  // The same KV comes to the device, so it evicts as much.
  const pulledCost =
    cost +
    weights.loadMs * transferMs +
    weights.displacementMs * COPY_EVICTS * insteadOfMs -
    weights.prefillMs * lessMs -
    weights.stallMs * Math.min(terms.stallMs, lessStallMs);
  // Profiles that weigh no time take it for its own sake.
  return weights.prefillMs > 0 && pulledCost >= cost ? null : { tokens, cost: pulledCost, transferMs, insteadOfMs };
}

/** A prefill on it for another: the queue and the work there, those who decode there stalled, the prefixes evicted there. */
export function sendingCost({ terms }: ScoredCandidate, { prefills }: CandidateView, { weights }: Profile): number {
  // Nobody decodes where only prefills run.
  const stalled = prefills ? 0 : terms.stallMs;
  return (
    weights.queueMs * terms.queueMs +
    weights.stuckMs * terms.stuckMs +
    weights.prefillMs * (terms.prefillMs + terms.loadMs) +
    weights.stallMs * stalled +
    weights.displacementMs * terms.displacementMs
  );
}

/** What is left to one whose prompt is prefilled elsewhere: the transfer, the prefixes evicted, decoding. */
export function receivingCost({ cost, terms, uncachedTokens }: ScoredCandidate, { rates }: CandidateView, { weights }: Profile): number {
  const sparedMs = weights.queueMs * terms.queueMs + weights.prefillMs * terms.prefillMs + weights.stallMs * terms.stallMs;
  return cost - sparedMs + weights.loadMs * uncachedTokens * rates.transferMsPerToken;
}

/** Whether that would not compute too much again. In tokens: learnt rates of replicas that have done little are too noisy for this. */
export function computesLittleAgain(senderTokens: number, ownTokens: number): boolean {
  return senderTokens <= MOST_EXTRA_WORK * ownTokens;
}
