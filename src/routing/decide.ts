import type { CandidateView, CostTerms, Decision, PoolView, Profile, RequestView, ScoredCandidate } from "./decision.ts";
import { planTransfer } from "./disaggregate.ts";
import { isFull } from "./full.ts";
import { reasonFor } from "./reason.ts";

/** What a stalled decoder counts: (2 s to the first token) / (50 ms per token), facts/routing.md §1. */
const TTFT_PER_TPOT = 40;
/** What an evicted prefix counts, facts/routing.md §1. */
const KAPPA = 5;
const MOST_LIVE_SHARE = 0.98;

/**
 * Chooses a replica. Pure: the same arguments give the same decision.
 *
 * cost = W + p * (1 + theta*n + kappa * f/(1-f)) weighted by the profile, with p = loadMsPerToken * loaded + prefillMsPerToken * computed tokens (what
 * lies on a lower tier is loaded where that is quicker than computing it), n requests in flight there, f = min(0.98, (live KV + new KV) / KV capacity), theta = 40 / mean output tokens (facts/routing.md §1, the smallest version worth having).
 * Full replicas are chosen never: when all are full the caller waits. Where the chosen one gets blocks from is planned after it (disaggregate.ts).
 *
 * @param draw chance, in [0, 1): breaks ties, and is the random profile's choice.
 * @param turn a count of decisions so far: the round-robin profile's choice.
 */
export function decide(view: PoolView, request: RequestView, profile: Profile, draw: number, turn: number): Decision {
  const candidates = view.candidates.map((candidate) => score(candidate, request, profile, view.meanOutputTokens));
  const open: number[] = [];
  let full = 0;
  for (let index = 0; index < candidates.length; index++) {
    const barred = candidates[index]?.barred;
    if (barred === null) open.push(index);
    else if (barred === "full") full++;
  }
  const chosen = PICK[profile.pick](open, candidates, draw, turn);
  const outcome = chosen !== null ? "chosen" : full > 0 ? "all-full" : "none-eligible";
  const transfer = chosen === null || request.counts === true ? null : planTransfer(view, request, candidates, chosen);
  const reason = reasonFor(candidates, chosen, outcome, request, profile, transfer);
  return { chosen, outcome, reason, candidates, transfer, profile: profile.name, draw };
}

type Pick = (open: readonly number[], candidates: readonly ScoredCandidate[], draw: number, turn: number) => number | null;

const PICK: Readonly<Record<Profile["pick"], Pick>> = {
  "lowest-cost": (open, candidates, draw) => {
    let lowest = Infinity;
    for (const index of open) lowest = Math.min(lowest, candidates[index]?.cost ?? Infinity);
    return byDraw(
      open.filter((index) => candidates[index]?.cost === lowest),
      draw,
    );
  },
  turn: (open, _candidates, _draw, turn) => open[turn % open.length] ?? null,
  draw: (open, _candidates, draw) => byDraw(open, draw),
};

function byDraw(indices: readonly number[], draw: number): number | null {
  return indices[Math.floor(draw * indices.length)] ?? null;
}

function score(candidate: CandidateView, request: RequestView, profile: Profile, meanOutputTokens: number): ScoredCandidate {
  const { replica, name, overlapSegments, cachedTokens, deviceTokens, inFlight } = candidate;
  const { prefillMsPerToken, loadMsPerToken } = candidate.rates;
  const lowerTokens = Math.max(0, cachedTokens - deviceTokens);
  const loadedTokens = loadMsPerToken < prefillMsPerToken ? lowerTokens : 0;
  // The prompt's length is an estimate and may fall below what is cached; one token is always computed.
  const uncachedTokens = Math.max(1, request.promptTokens - (cachedTokens - lowerTokens) - loadedTokens);
  const prefillMs = prefillMsPerToken * uncachedTokens;
  const loadMs = loadMsPerToken * loadedTokens;
  const p = prefillMs + loadMs;
  // Both take room on the device.
  const newTokens = uncachedTokens + loadedTokens;
  const liveShare = Math.min(MOST_LIVE_SHARE, (candidate.liveKvTokens + newTokens) / Math.max(1, candidate.kvTokens));
  const terms: CostTerms = {
    queueMs: candidate.queuedPrefillMs,
    prefillMs,
    loadMs,
    stallMs: (TTFT_PER_TPOT / Math.max(1, meanOutputTokens)) * inFlight * p,
    displacementMs: (KAPPA * p * liveShare) / (1 - liveShare),
    inFlight,
    away: request.stickyTo === undefined || request.stickyTo === replica ? 0 : 1,
  };
  const predictedTtftMs = terms.queueMs + p;
  const barred = barredBy(candidate, request, newTokens, meanOutputTokens);
  const held = { overlapSegments, cachedTokens, deviceTokens, loadedTokens, uncachedTokens };
  return { replica, name, ...held, predictedTtftMs, cost: weigh(terms, profile.weights), terms, barred };
}

function weigh(terms: CostTerms, weights: Readonly<CostTerms>): number {
  return (
    terms.queueMs * weights.queueMs +
    terms.prefillMs * weights.prefillMs +
    terms.loadMs * weights.loadMs +
    terms.stallMs * weights.stallMs +
    terms.displacementMs * weights.displacementMs +
    terms.inFlight * weights.inFlight +
    terms.away * weights.away
  );
}

function barredBy(candidate: CandidateView, request: RequestView, newTokens: number, meanOutputTokens: number): ScoredCandidate["barred"] {
  if (candidate.prefills) return "prefill only";
  if (!candidate.eligible) return "not eligible";
  if (request.excluded.includes(candidate.replica)) return "excluded";
  return isFull(candidate, newTokens, meanOutputTokens) ? "full" : null;
}
