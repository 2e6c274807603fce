/** The vocabulary of a decision: what goes in, what comes out. Plain values, so that a logged one can be decided again. */

export interface RequestView {
  /** Estimated from bytes until the replica has tokenized. */
  promptTokens: number;
  promptBytes: number;
  /** Length of its chain. */
  segments: number;
  /** Replica slots that failed this request already. */
  excluded: readonly number[];
  /** Its tokens are counted and nothing more: nothing is fetched for it. */
  counts?: boolean;
  /** Slot that served this session last; only the sticky profile asks. */
  stickyTo?: number;
}

export interface Rates {
  /** Learnt from the replica's own reports; ms per uncached prompt token. */
  prefillMsPerToken: number;
  /** ms per token that comes from a lower tier of its own. */
  loadMsPerToken: number;
  /** ms per token that it fetches from another replica. */
  transferMsPerToken: number;
}

export interface CandidateView {
  /** Slot. */
  replica: number;
  name: string;
  /** Leading segments of the prompt it holds without a gap. */
  overlapSegments: number;
  /** Token position of the last of them, whatever tier they lie on. */
  cachedTokens: number;
  /** The same, counting only what lies on its device. */
  deviceTokens: number;
  /** The same, counting what lies on its device or in its host memory: what it can send. */
  memoryTokens: number;
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
  /** May take new requests at all: ready, role decode. */
  eligible: boolean;
  /** Takes no requests but prefills for others: ready, no other role. */
  prefills: boolean;
  /** Sends blocks to others and fetches theirs. */
  transfers: boolean;
}

/** Input of a decision. */
export interface PoolView {
  candidates: readonly CandidateView[];
  /** Learnt; sets how much a stalled decoder counts. */
  meanOutputTokens: number;
  /** A request is prefilled elsewhere when its replica would have to compute so many tokens; null: never. */
  remotePrefillTokens: number | null;
}

export type ProfileName = "cache-aware" | "least-loaded" | "round-robin" | "random" | "sticky";

/** The parts of a cost. Each in ms except the last two, which are counts. */
export interface CostTerms {
  /** W: the prefills ahead of it. */
  queueMs: number;
  /** What it computes itself. */
  prefillMs: number;
  /** What it loads from lower tiers, where that is quicker than computing. p is both together. */
  loadMs: number;
  /** What this adds to those decoding there: theta * n * p. */
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
  deviceTokens: number;
  /** Of what it holds, what it would load from lower tiers: 0 when computing is quicker. */
  loadedTokens: number;
  /** What it would compute. */
  uncachedTokens: number;
  predictedTtftMs: number;
  cost: number;
  terms: CostTerms;
  /** Why it could not be chosen; null when it could. */
  barred: "not eligible" | "prefill only" | "excluded" | "full" | null;
}

/** KV blocks that the chosen replica gets from another one. */
export interface PlannedTransfer {
  /** prefill: the other computes the prompt first. pull: it holds more of it. */
  kind: "prefill" | "pull";
  /** Slot of the sender. */
  replica: number;
  name: string;
  /** What is moved. */
  tokens: number;
  transferMs: number;
  /** Until the sender has what is moved: queue, loading and prefill there; 0 for a pull. */
  senderMs: number;
  /** Of `senderMs`, its own work; and what that adds to the sender's KV cache. */
  senderWorkMs: number;
  senderNewTokens: number;
  /** What the chosen replica would need without: loading and prefill for a prefill, computing these tokens for a pull. */
  insteadOfMs: number;
  /** What is left to the chosen replica, the transfer included. */
  receiverMs: number;
}

export interface Decision {
  /** Index into `candidates`; null: see `outcome`. */
  chosen: number | null;
  /** all-full: wait, a place will be free. none-eligible: no replica may take it now. */
  outcome: "chosen" | "all-full" | "none-eligible";
  /** One sentence with numbers. */
  reason: string;
  candidates: ScoredCandidate[];
  /** Null: the chosen replica does everything itself. */
  transfer: PlannedTransfer | null;
  profile: ProfileName;
  draw: number;
}
