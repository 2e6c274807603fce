/** What a pool tells the edges, so that each can predict a request's time in every pool without asking. */
import type { LeaseBook } from "../pool/lease-book.ts";
import { liveKvTokens } from "../pool/load.ts";
import { type MembershipState, takesRequests } from "../pool/membership.ts";
import type { WaitingLine } from "../pool/waiting-line.ts";
import type { HashSpec } from "../prefix/segment.ts";
import { buildSketch, type SketchSource } from "../residency/sketch.ts";
import { computeMs, decodeMs, displacementMs, stallMs } from "../decision/cost.ts";
import type { RateBook } from "../rates/rate-book.ts";

/** What changes all the time is looked at no more often than this. */
const EVERY_MS = 1_000;
/** And no more often than once in so many ms a segment: a percent or two of the pool's time, however full it is. */
const SKETCH_MS_PER_SEGMENT = 1_000 / 1_000_000;

export interface PoolLoad {
  /** The prefill ahead of a new request on the ready replica that has least, and its share of the line before it. */
  queueMs: number;
  /** Leases on ready replicas. */
  inFlight: number;
  /** Requests in line. */
  waiting: number;
  /** Lately. One object can do about 1,000. */
  decisionsPerSecond: number;
  /** Share of the ready replicas that have no free sequence; 1 when none is ready. */
  fullShare: number;
  /** Means over the ready replicas, of computing a token and of each token before it (cost.ts); the second absent: not told. */
  prefillMsPerToken: number;
  attentionMsPerPair?: number;
  bytesPerToken: number;
  /** No replica has told yet how long a prefill takes: `prefillMsPerToken` is a guess on the high side. Absent: it is learnt. */
  guessed?: boolean;
  /** Mean over the ready replicas: what a ms of prefill there does to those who decode beside it and to prefixes it evicts (cost.ts), ms; absent: not told. */
  harmPerMs?: number;
  /** Mean over the ready replicas: cost of the time per token that a request of no tokens gets and adds (cost.ts), ms, and of each of its prompt tokens; absent: not told. */
  decodeMs?: number;
  decodeMsPerToken?: number;
  /** Of the prompt tokens so far, those found cached; absent: not told. */
  reusedShare?: number;
}

/** What the longest prompt is that some replica may take. */
interface PromptLimit {
  /** Of the ready replica with the largest context. */
  contextTokens: number;
  /** Of the longest token among their vocabularies. */
  longestTokenBytes: number;
}

export interface PoolCard {
  pool: string;
  /** Null until a replica has joined for the first time. */
  model: string | null;
  createdAtSeconds: number;
  hashSpec: HashSpec;
  /** Replicas that take requests now. */
  replicas: number;
  /** Longest prompt plus answer that some replica takes, tokens; absent: no replica is here. */
  contextTokens?: number;
  load: PoolLoad;
  /** Absent: no replica is ready, or one has not said what its longest token is. */
  promptLimit?: PromptLimit;
  /** Of the sketch that the pool has now; a card that was asked for without one has neither. */
  sketchVersion?: number;
  /** sketch.ts; left out where the asker has this version already. */
  sketch?: Uint8Array;
}

interface LoadSource {
  membership: MembershipState;
  leases: LeaseBook;
  line: WaitingLine;
  rates: RateBook;
  counters: { promptTokens: number; reportedCachedTokens: number };
}

export function poolLoad({ membership, leases, line, rates, counters }: LoadSource, decisionsPerSecond: number): PoolLoad {
  const ready = membership.replicas.filter(takesRequests);
  let [queuedMs, inFlight, promptTokens, full, msPerToken, msPerPair] = [Infinity, 0, 0, 0, 0, 0];
  let [harm, decode, decodePerToken] = [0, 0, 0];
  for (const { slot, capacity } of ready) {
    const load = leases.load(slot);
    queuedMs = Math.min(queuedMs, load.queuedPrefillMs);
    inFlight += load.inFlight;
    promptTokens += load.promptTokens;
    if (load.inFlight >= capacity.sequences) full++;
    const own = rates.of(slot);
    msPerToken += own.prefillMsPerToken;
    msPerPair += own.attentionMsPerPair;
    const { kvTokens } = capacity;
    harm += stallMs(load.inFlight, 1, rates.meanOutputTokens) + displacementMs({ liveKvTokens: liveKvTokens(load), kvTokens }, 0, 1);
    const contextTokens = load.promptTokens + load.outputTokens;
    const unprompted = decodeMs(load.inFlight, contextTokens, own, 0);
    decode += unprompted;
    decodePerToken += decodeMs(load.inFlight, contextTokens, own, 1) - unprompted;
  }
  const count = Math.max(1, ready.length);
  const prefillMsPerToken = ready.length === 0 ? rates.prefillMsPerToken(0) : msPerToken / count;
  const attentionMsPerPair = msPerPair / count;
  // Who waits is taken to be like those in flight, and to find nothing cached.
  const waitingMs = inFlight === 0 ? 0 : line.length * computeMs({ prefillMsPerToken, attentionMsPerPair }, 0, promptTokens / inFlight);
  return {
    // Where decodes hold the places, the line moves no faster than they end.
    queueMs: Math.max((ready.length === 0 ? 0 : queuedMs) + waitingMs / count, line.paceMs),
    inFlight,
    waiting: line.length,
    decisionsPerSecond,
    fullShare: ready.length === 0 ? 1 : full / count,
    prefillMsPerToken,
    attentionMsPerPair,
    bytesPerToken: rates.bytesPerToken,
    harmPerMs: harm / count,
    decodeMs: decode / count,
    decodeMsPerToken: decodePerToken / count,
    ...(rates.known ? {} : { guessed: true }),
    ...(counters.promptTokens === 0 ? {} : { reusedShare: counters.reportedCachedTokens / counters.promptTokens }),
  };
}

/** Of the replicas that take requests now. */
export function promptLimitOf({ replicas }: MembershipState): PromptLimit | null {
  const limit: PromptLimit = { contextTokens: 0, longestTokenBytes: 0 };
  for (const { capacity } of replicas.filter(takesRequests)) {
    if (capacity.longestTokenBytes === undefined) return null;
    limit.contextTokens = Math.max(limit.contextTokens, capacity.contextTokens);
    limit.longestTokenBytes = Math.max(limit.longestTokenBytes, capacity.longestTokenBytes);
  }
  return limit.contextTokens === 0 ? null : limit;
}

/** A counter's rate over the last second or more, whoever asks how often. */
export class PaceMeter {
  #fromMs = 0;
  #from = 0;
  #perSecond = 0;

  /** `total` only grows. */
  perSecond(total: number, nowMs: number): number {
    const passedMs = nowMs - this.#fromMs;
    if (passedMs < EVERY_MS) return this.#perSecond;
    this.#perSecond = ((total - this.#from) * 1_000) / passedMs;
    this.#fromMs = nowMs;
    this.#from = total;
    return this.#perSecond;
  }
}

interface SketchedIndex extends SketchSource {
  readonly size: number;
  /** Goes up with every entry added or removed. */
  readonly changes: number;
}

/** The sketch of a pool's index, made anew at most every second and only when someone asks. */
export class SketchKeeper {
  readonly #index: SketchedIndex;
  #bytes: Uint8Array | null = null;
  #builtAtMs = 0;
  #changes = -1;

  constructor(index: SketchedIndex) {
    this.#index = index;
  }

  /** `known`: the version that the asker has; 0: none. Versions of two lives of an object differ, as they are times. */
  sendUnlessKnown(known: number, nowMs: number): Pick<PoolCard, "sketch" | "sketchVersion"> {
    const { size, changes } = this.#index;
    const dueAtMs = this.#builtAtMs + Math.max(EVERY_MS, size * SKETCH_MS_PER_SEGMENT);
    if (this.#bytes === null || (changes !== this.#changes && nowMs >= dueAtMs)) {
      this.#bytes = buildSketch(this.#index);
      this.#builtAtMs = nowMs;
      this.#changes = changes;
    }
    return { sketchVersion: this.#builtAtMs, ...(known === this.#builtAtMs ? {} : { sketch: this.#bytes }) };
  }
}
