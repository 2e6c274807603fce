/** The vocabulary of a decision: what goes in, what comes out. Plain values, so that a logged one can be decided again. */

export interface RequestView {
  /** Estimated from bytes until the replica has tokenized. */
  promptTokens: number;
  promptBytes: number;
  /** Length of its chain. */
  segments: number;
  /** Replica slots that failed this request already. */
  excluded: readonly number[];
  /** Slot that served this session last; only the sticky profile asks. */
  stickyTo?: number;
}

export interface Rates {
  /** Learnt from the replica's own reports; ms per uncached prompt token. */
  prefillMsPerToken: number;
}

export interface CandidateView {
  /** Slot. */
  replica: number;
  name: string;
  /** Leading segments of the prompt it holds without a gap. */
  overlapSegments: number;
  /** Token position of the last of them. */
  cachedTokens: number;
  /** Leases on it. */
  inFlight: number;
  /** W: sum of the predicted prefill of its leases without a first token. */
  queuedPrefillMs: number;
  /** KV tokens its running requests hold, a shared prefix once. */
  liveKvTokens: number;
  kvTokens: number;
  sequences: number;
  queueLimit: number;
  rates: Rates;
  /** May take new requests at all: ready, right role. */
  eligible: boolean;
}

/** Input of a decision. */
export interface PoolView {
  candidates: readonly CandidateView[];
  /** Learnt; sets how much a stalled decoder counts. */
  meanOutputTokens: number;
}

export type ProfileName = "cache-aware" | "least-loaded" | "round-robin" | "random" | "sticky";

/** The parts of a cost. Each in ms except the last two, which are counts. */
export interface CostTerms {
  /** W: the prefills ahead of it. */
  queueMs: number;
  /** p: its own uncached prefill. */
  prefillMs: number;
  /** What its prefill adds to those decoding there: theta * n * p. */
  stallMs: number;
  /** What the prefixes it evicts will cost others: kappa * p * f/(1-f). */
  displacementMs: number;
  /** n: requests in flight there. */
  inFlight: number;
  /** 1 when it is not the replica that served the session last. */
  away: number;
}

/** How to choose: weights of the cost's parts, and how to pick among those that are not full. A literal, never code. */
export interface Profile {
  name: ProfileName;
  weights: Readonly<CostTerms>;
  pick: "lowest-cost" | "turn" | "draw";
}

export interface ScoredCandidate {
  replica: number;
  name: string;
  overlapSegments: number;
  cachedTokens: number;
  uncachedTokens: number;
  predictedTtftMs: number;
  cost: number;
  terms: CostTerms;
  /** Why it could not be chosen; null when it could. */
  barred: "not eligible" | "excluded" | "full" | null;
}

export interface Decision {
  /** Index into `candidates`; null: see `outcome`. */
  chosen: number | null;
  /** all-full: wait, a place will be free. none-eligible: no replica may take it now. */
  outcome: "chosen" | "all-full" | "none-eligible";
  /** One sentence with numbers. */
  reason: string;
  candidates: ScoredCandidate[];
  profile: ProfileName;
  draw: number;
}
