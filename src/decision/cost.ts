/** What it would cost to send a request to a replica: SLO-normalised marginal cost (docs/decisions/0009-weights.md). */
import type { CandidateView, CostTerms, Profile, Rates, RequestView, ScoredCandidate } from "./decision.ts";
import { awaitedMs, isFull } from "./capacity.ts";

/**
 * theta * mean output: what a ms more per token counts against a ms more to the first. The objectives alone, 2 s and 50 ms, would make it 40; a prefix
 * left for a replica that decodes less costs every later turn, too, and on the simulator's tuning seeds 25 lost the fewest cells and held
 * the highest rates within the objectives (docs/decisions/0009-weights.md).
 */
export const TTFT_PER_TPOT = 25;
/** What an evicted prefix counts: 1 (docs/decisions/0009-weights.md); those seeds again, and between 0.3 and 2 it hardly matters. */
export const KAPPA = 1;
/**
 * What a request counts that runs on another replica of the same machine: engines side by side slow each other down, but not as requests in one batch do.
 * Counted whole, all went to one replica while processors idled (docs/decisions/0009-weights.md).
 */
const BESIDE_SHARE = 0.6;
const MOST_LIVE_SHARE = 0.98;

/** Of each part of a cost nothing: the weights of a policy that does not look at it. */
export const NOTHING: CostTerms = {
  queueMs: 0,
  stuckMs: 0,
  awaitedMs: 0,
  prefillMs: 0,
  loadMs: 0,
  stallMs: 0,
  displacementMs: 0,
  decodeMs: 0,
  leaveMs: 0,
  inFlight: 0,
  away: 0,
};
/** Of a prompt's prefill without cache: what leaving the session's last replica is charged. */
const HYSTERESIS = 0.05;

/** ms to compute `tokens` behind `from` others: B*u + Q*u*(h + u/2). */
export function computeMs(rates: Pick<Rates, "prefillMsPerToken" | "attentionMsPerPair">, from: number, tokens: number): number {
  return tokens * (rates.prefillMsPerToken + rates.attentionMsPerPair * (from + tokens / 2));
}

/**
 * With p = load + prefill, n requests in flight there with L tokens of context, f = min(0.98, (live KV + new KV) / KV capacity),
 * theta = 25 / mean output tokens, those of replicas that share its processors counting 0.6 in n and L of stalls and decodes:
 *
 * cost = (W + V) + stuck + p + theta*n*p + kappa*p*f/(1-f) + 25*(2*C*n + D*(L + n*In)), each part weighed by the profile, and a little more where the
 * session was elsewhere.
 *
 * What lies on a lower tier is loaded where that is quicker than computing it. What a request leased there before will leave on the device
 * counts as held: W has its prefill already.
 *
 * @param into what to write it into, where many scores are looked at and none is kept.
 */
export function score(
  candidate: CandidateView,
  request: RequestView,
  profile: Profile,
  meanOutputTokens: number,
  into: ScoredCandidate = unscored(),
): ScoredCandidate {
  const { rates, inFlight } = candidate;
  const { promptTokens } = request;
  const { terms } = into;
  const deviceTokens = Math.max(candidate.deviceTokens, candidate.predictedTokens);
  const cachedTokens = Math.max(candidate.cachedTokens, deviceTokens);
  const lowerTokens = cachedTokens - deviceTokens;
  const loads = lowerTokens > 0 && lowerTokens * rates.loadMsPerToken < computeMs(rates, deviceTokens, lowerTokens);
  const loadedTokens = loads ? lowerTokens : 0;
  const inPlace = deviceTokens + loadedTokens;
  // The prompt's length is an estimate and may fall below what is cached; one token is always computed.
  const uncachedTokens = Math.max(1, promptTokens - inPlace);
  terms.prefillMs = computeMs(rates, Math.min(inPlace, promptTokens), uncachedTokens);
  terms.loadMs = rates.loadMsPerToken * loadedTokens;
  const p = terms.prefillMs + terms.loadMs;
  // Both take room on the device.
  const newTokens = uncachedTokens + loadedTokens;
  terms.queueMs = candidate.queuedPrefillMs + candidate.plannedMs;
  terms.stuckMs = candidate.stuckMs;
  terms.awaitedMs =
    request.tpotMs === undefined || profile.holds !== true ? 0 : awaitedMs(candidate, promptTokens, meanOutputTokens, request.tpotMs);
  terms.stallMs = stallMs(felt(candidate), p, meanOutputTokens);
  terms.displacementMs = displacementMs(candidate, newTokens, p);
  terms.decodeMs = decodeMs(felt(candidate), candidate.contextTokens + BESIDE_SHARE * candidate.besideContextTokens, rates, promptTokens);
  terms.inFlight = inFlight;
  terms.away = request.stickyTo === undefined || request.stickyTo === candidate.replica ? 0 : 1;
  terms.leaveMs = terms.away === 0 ? 0 : HYSTERESIS * computeMs(rates, 0, promptTokens);
  into.replica = candidate.replica;
  into.name = candidate.name;
  into.overlapSegments = candidate.overlapSegments;
  into.cachedTokens = cachedTokens;
  into.deviceTokens = deviceTokens;
  into.awaitedTokens = Math.max(0, candidate.predictedTokens - candidate.deviceTokens);
  into.loadedTokens = loadedTokens;
  into.uncachedTokens = uncachedTokens;
  into.workMs = terms.queueMs + terms.awaitedMs + p;
  into.ttftStretch = rates.ttftStretch;
  into.predictedTtftMs = rates.ttftExtraMs + rates.ttftStretch * into.workMs;
  into.cost = weigh(terms, profile.weights);
  into.plannedCost = into.cost;
  into.barred = barredBy(candidate, request, newTokens, meanOutputTokens) ?? (terms.awaitedMs > 0 ? "too slow" : null);
  return into;
}

/** Room for a score; `score` fills all of it. */
export function unscored(): ScoredCandidate {
  return {
    replica: 0,
    name: "",
    overlapSegments: 0,
    cachedTokens: 0,
    deviceTokens: 0,
    awaitedTokens: 0,
    loadedTokens: 0,
    uncachedTokens: 0,
    predictedTtftMs: 0,
    workMs: 0,
    ttftStretch: 1,
    cost: 0,
    plannedCost: 0,
    terms: { ...NOTHING },
    barred: null,
  };
}

/** Requests in flight that what runs there is felt by: its own, and of replicas that share its processors a part. */
export function felt({ inFlight, besideInFlight }: Pick<CandidateView, "inFlight" | "besideInFlight">): number {
  return inFlight + BESIDE_SHARE * besideInFlight;
}

/** theta * n * p: a prefill stalls those who decode beside it. */
export function stallMs(inFlight: number, p: number, meanOutputTokens: number): number {
  return (TTFT_PER_TPOT / Math.max(1, meanOutputTokens)) * inFlight * p;
}

/** kappa * p * f/(1-f): new KV evicts somebody's prefix, the dearer the less of the cache is idle. */
export function displacementMs(candidate: Pick<CandidateView, "liveKvTokens" | "kvTokens">, newTokens: number, p: number): number {
  const liveShare = Math.min(MOST_LIVE_SHARE, (candidate.liveKvTokens + newTokens) / Math.max(1, candidate.kvTokens));
  return (KAPPA * p * liveShare) / (1 - liveShare);
}

/** 25 * (2*C*n + D*(L + n*In)): the time per token it gets, and what it adds to theirs. */
export function decodeMs(
  inFlight: number,
  contextTokens: number,
  { decodeMsPerSequence, decodeMsPerContextToken }: Rates,
  promptTokens: number,
): number {
  return TTFT_PER_TPOT * (2 * decodeMsPerSequence * inFlight + decodeMsPerContextToken * (contextTokens + inFlight * promptTokens));
}

function weigh(terms: CostTerms, weights: Readonly<CostTerms>): number {
  return (
    terms.queueMs * weights.queueMs +
    terms.stuckMs * weights.stuckMs +
    terms.awaitedMs * weights.awaitedMs +
    terms.prefillMs * weights.prefillMs +
    terms.loadMs * weights.loadMs +
    terms.stallMs * weights.stallMs +
    terms.displacementMs * weights.displacementMs +
    terms.decodeMs * weights.decodeMs +
    terms.leaveMs * weights.leaveMs +
    terms.inFlight * weights.inFlight +
    terms.away * weights.away
  );
}

function barredBy(candidate: CandidateView, request: RequestView, newTokens: number, meanOutputTokens: number): ScoredCandidate["barred"] {
  if (candidate.prefills) return "prefill only";
  if (!candidate.eligible) return "not eligible";
  if (request.excluded.includes(candidate.replica)) return "excluded";
  if (request.leftOut?.includes(candidate.replica) === true) return "left out";
  return isFull(candidate, newTokens, meanOutputTokens) ? "full" : null;
}
