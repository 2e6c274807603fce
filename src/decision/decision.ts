/** The vocabulary of a decision: what goes in, what comes out. Plain values, so that a logged one can be decided again. */

export interface RequestView {
  /** Estimated from bytes until the replica has tokenized. */
  promptTokens: number;
  promptBytes: number;
  /** Length of its chain. */
  segments: number;
  /** Replica slots that failed this request already. */
  excluded: readonly number[];
  /** Replica slots that nothing is sent to for a while, as they failed every request lately (src/pool/breaker.ts); absent: none. */
  leftOut?: readonly number[];
  /** Its tokens are counted and nothing more: nothing is fetched for it. */
  counts?: boolean;
  /** Its client wants tokens at least so often, ms; absent: it said nothing. */
  tpotMs?: number;
  /** Slot that served this session last. */
  stickyTo?: number;
}

/** Learnt from the replica's own reports (rate-book.ts). A prefill of u tokens behind h takes B*u + Q*u*(h + u/2) ms. */
export interface Rates {
  /** B: ms per uncached prompt token. */
  prefillMsPerToken: number;
  /** Q: ms per computed token and token before it. */
  attentionMsPerPair: number;
  /** C: what one more sequence adds to a decode step, ms. */
  decodeMsPerSequence: number;
  /** S: what a decode step takes besides; 0 while unknown. */
  decodeMsPerStep: number;
  /** Decodes take so many times as long as their own steps, for the prefills between them; 1 or more, and 0 while nothing is known. */
  decodeStretch: number;
  /** So many decoded side by side at most in what was reported; of twice as many nothing is known. */
  decodeSequencesSeen: number;
  /** D: what one more token of context adds to a decode step, ms. */
  decodeMsPerContextToken: number;
  /** ms per token that comes from a lower tier of its own. */
  loadMsPerToken: number;
  /** ms per token that it fetches from another replica. */
  transferMsPerToken: number;
  /** A first token comes after so many times what queue and prefill add up to, and this much more: steps, bookings, the network. */
  ttftStretch: number;
  ttftExtraMs: number;
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
  /** Leading tokens that a request leased there before will have left on its device; 0 where residency says as much itself. */
  predictedTokens: number;
  /** n: leases on it. */
  inFlight: number;
  /** L: tokens of context of those. */
  contextTokens: number;
  /** The same of other replicas on its machine, whose processors it shares. */
  besideInFlight: number;
  besideContextTokens: number;
  /** W: sum of the predicted prefill of its leases without a first token. */
  queuedPrefillMs: number;
  /** The price of its prefills hanging (src/pool/prefill-watch.ts); 0 while they do not. */
  stuckMs: number;
  /** V: predicted prefill of those before this one in line that are meant for it. */
  plannedMs: number;
  /** KV tokens its running requests hold, a shared prefix once. */
  liveKvTokens: number;
  /** Of these, what the running requests have written so far, as reported. */
  outputTokens: number;
  kvTokens: number;
  sequences: number;
  queueLimit: number;
  /** W + V from which on it rather waits in line (wait-threshold.ts), ms. */
  holdMs: number;
  rates: Rates;
  /** May take new requests at all: ready, role decode. */
  eligible: boolean;
  /** Takes no requests but prefills for others: ready, no other role. */
  prefills: boolean;
  /** Its only role is to decode: it leaves prompts to others where it can. */
  decodeOnly: boolean;
  /** Sends blocks to others and fetches theirs. */
  transfers: boolean;
}

/** Input of a decision. */
export interface PoolView {
  candidates: readonly CandidateView[];
  /** Learnt; sets how much a stalled decoder counts. */
  meanOutputTokens: number;
  /** A request is prefilled elsewhere only when its replica would have to compute so many tokens; null: never. */
  remotePrefillTokens: number | null;
}

/** The parts of a cost. Each in ms except the last two, which are counts. With a transfer they are those of both replicas (cost-table.ts). */
export interface CostTerms {
  /** W + V: the prefills ahead of it, leased and planned. */
  queueMs: number;
  /** The price of a replica whose prefills hang. */
  stuckMs: number;
  /** Until its tokens would come as often as its client wants them; 0 where they would now. */
  awaitedMs: number;
  /** What it computes itself. */
  prefillMs: number;
  /** What it loads from lower tiers, where that is quicker than computing. p is both together. */
  loadMs: number;
  /** What this adds to those decoding there: theta * n * p. */
  stallMs: number;
  /** What the prefixes it evicts will cost others: kappa * p * f/(1-f). */
  displacementMs: number;
  /** What decoding there takes, its own and what it adds to the others: theta * mean output * (2*C*n + D*(L + n*In)). */
  decodeMs: number;
  /** A small charge for leaving the replica that served the session last, so that equals do not take turns: 5 % of the prompt's prefill without cache. */
  leaveMs: number;
  /** n: requests in flight there. */
  inFlight: number;
  /** 1 when it is not the replica that served the session last. */
  away: number;
}

/** How to choose, as records keep it: weights of the cost's parts, and how to pick among those that are open. A literal made from a policy (policy.ts). */
export interface Profile {
  /** Its key in profiles.ts. */
  name: string;
  weights: Readonly<CostTerms>;
  /** A request stays in line until its replica will soon start it, so that a better place can still appear. Absent: it goes as soon as there is a place. */
  holds?: boolean;
  /** "lowest-cost", or the name of the policy whose logic chooses. */
  pick: string;
}

export interface ScoredCandidate {
  replica: number;
  name: string;
  overlapSegments: number;
  cachedTokens: number;
  /** Of these, what is on its device, or will be when the requests leased before have their first token. */
  deviceTokens: number;
  /** Of these again, what only such a request will have put there. */
  awaitedTokens: number;
  /** Of what it holds, what it would load from lower tiers: 0 when computing is quicker. */
  loadedTokens: number;
  /** What it would compute. */
  uncachedTokens: number;
  /** What its client waits for: the queue and its own prefill as they usually turn out, steps, bookings and network included. */
  predictedTtftMs: number;
  /** What queue and prefill add up to; times `ttftStretch`, and something more, that is the predicted time. */
  workMs: number;
  ttftStretch: number;
  cost: number;
  /** The same with the transfer that makes it cheapest; `cost` where none does. The lowest is chosen. */
  plannedCost: number;
  terms: CostTerms;
  /** Why it could not be chosen; null when it could. */
  barred: "not eligible" | "prefill only" | "excluded" | "left out" | "full" | "too slow" | null;
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
  /** Of the prompt, what the sender need not compute; 0 for a pull. */
  senderCachedTokens: number;
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
  profile: string;
  draw: number;
}
