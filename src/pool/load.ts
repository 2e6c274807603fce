import { MAX_REPLICAS } from "../residency/segment-index.ts";
import { DistinctPrompts } from "./distinct-prompts.ts";
import type { Lease } from "./lease.ts";

/** Sums over the live leases of one replica. */
export interface ReplicaLoad {
  /** n. */
  inFlight: number;
  /** W: predicted prefill of those without a first token, ms. */
  queuedPrefillMs: number;
  /** L: prompt tokens. */
  promptTokens: number;
  /** Of these, what was not cached when the lease was made. */
  uncachedTokens: number;
  /** Reported so far. */
  outputTokens: number;
  /** Prompts whose chain is known: their tokens and bytes, and their bytes where what several begin with counts once. */
  chainedTokens: number;
  chainedBytes: number;
  distinctBytes: number;
  /** Prompt tokens of those without a chain. */
  unchainedTokens: number;
  /** KV in use by running requests, as the replica reported it last, less what has ended since. */
  reportedKvTokens: number;
  /** Of those in flight, the ones that have a first token, and their tokens: prompts, and outputs as far as reported. */
  decoding: number;
  decodingTokens: number;
}

/** Sums over time since the replica was idle last; the difference of two readings says what ran in between. */
export interface LoadReading {
  atMs: number;
  /** Integrals of `decoding` and `decodingTokens`: sequences × ms, tokens × ms. */
  sequenceMs: number;
  contextMs: number;
  /** Predicted ms of all prefills that ended. */
  prefilledMs: number;
}

/** Between two readings: means, and the prefills that ended, predicted ms. */
export interface LoadMeans {
  sequences: number;
  contextTokens: number;
  prefilledMs: number;
}

/** Null when no time passed. */
export function meansBetween(from: LoadReading, to: LoadReading): LoadMeans | null {
  const passedMs = to.atMs - from.atMs;
  if (!(passedMs > 0)) return null;
  return {
    sequences: (to.sequenceMs - from.sequenceMs) / passedMs,
    contextTokens: (to.contextMs - from.contextMs) / passedMs,
    prefilledMs: to.prefilledMs - from.prefilledMs,
  };
}

interface LoadSums {
  load: ReplicaLoad;
  prompts: DistinctPrompts;
  reading: LoadReading;
}

/**
 * U: KV tokens that the running requests hold: their prompts, what several begin with once, and what they have written; or what the replica reports,
 * where that is more. An engine that shares nothing between running requests holds each prefix as often as they do.
 */
export function liveKvTokens(load: ReplicaLoad): number {
  const { chainedTokens, chainedBytes, distinctBytes, unchainedTokens, outputTokens, reportedKvTokens } = load;
  const distinctTokens = chainedBytes > 0 ? (chainedTokens * distinctBytes) / chainedBytes : 0;
  return Math.max(reportedKvTokens, distinctTokens + unchainedTokens + outputTokens);
}

function noLoad(): ReplicaLoad {
  const sums = { inFlight: 0, queuedPrefillMs: 0, promptTokens: 0, uncachedTokens: 0, outputTokens: 0, decoding: 0, decodingTokens: 0 };
  return { ...sums, chainedTokens: 0, chainedBytes: 0, distinctBytes: 0, unchainedTokens: 0, reportedKvTokens: 0 };
}

/** Keeps the sums as leases come and go. */
export class ReplicaLoads {
  /** Counts leases' coming, first tokens and going. */
  changes = 0;
  readonly #kept: LoadSums[] = Array.from({ length: MAX_REPLICAS }, () => ({
    load: noLoad(),
    prompts: new DistinctPrompts(),
    reading: { atMs: 0, sequenceMs: 0, contextMs: 0, prefilledMs: 0 },
  }));

  of(replica: number): ReplicaLoad {
    return this.#of(replica).load;
  }

  /** As of `nowMs` (pool clock; earlier than the last reading counts as then). A copy. */
  reading(replica: number, nowMs: number): LoadReading {
    return { ...this.#advanced(replica, nowMs) };
  }

  add(lease: Lease): void {
    this.changes++;
    const load = this.of(lease.replica);
    load.inFlight++;
    load.queuedPrefillMs += lease.predictedMs;
    load.promptTokens += lease.promptTokens;
    load.uncachedTokens += lease.uncachedTokens;
    this.#hold(lease, 1);
  }

  firstToken(lease: Lease, nowMs: number): void {
    this.changes++;
    const load = this.of(lease.replica);
    load.queuedPrefillMs = Math.max(0, load.queuedPrefillMs - lease.predictedMs);
    this.#advanced(lease.replica, nowMs).prefilledMs += lease.predictedMs;
    load.decoding++;
    load.decodingTokens += lease.promptTokens;
  }

  /** Of one that has its first token. */
  output(lease: Lease, moreTokens: number, nowMs: number): void {
    this.#advanced(lease.replica, nowMs);
    const load = this.of(lease.replica);
    load.outputTokens += moreTokens;
    load.decodingTokens += moreTokens;
  }

  /** KV in use by running requests, as the replica reports it. */
  reported(replica: number, usedKvTokens: number): void {
    this.of(replica).reportedKvTokens = usedKvTokens;
  }

  subtract(lease: Lease, nowMs: number): void {
    this.changes++;
    const load = this.of(lease.replica);
    this.#advanced(lease.replica, nowMs);
    const freedTokens = this.#hold(lease, -1);
    if (load.inFlight <= 1) {
      // Also ends the drift of adding and subtracting fractions.
      Object.assign(load, noLoad());
      return;
    }
    load.inFlight--;
    load.promptTokens -= lease.promptTokens;
    load.uncachedTokens -= lease.uncachedTokens;
    load.outputTokens -= lease.outputTokens;
    if (lease.firstTokenAtMs === null) load.queuedPrefillMs = Math.max(0, load.queuedPrefillMs - lease.predictedMs);
    else {
      load.decoding--;
      load.decodingTokens -= lease.promptTokens + lease.outputTokens;
    }
    load.reportedKvTokens = Math.max(0, load.reportedKvTokens - freedTokens - lease.outputTokens);
  }

  /** Prompt tokens that are in use because of it alone: not what running prompts begin with, too. */
  #hold({ replica, prompt, promptTokens, uncachedTokens }: Lease, sign: 1 | -1): number {
    const { load, prompts } = this.#of(replica);
    if (prompt === undefined) {
      // What is only counted holds nothing.
      if (uncachedTokens > 0) load.unchainedTokens += sign * promptTokens;
      return uncachedTokens;
    }
    if (sign === 1) prompts.add(prompt);
    else prompts.remove(prompt);
    const ownBytes = Math.abs(prompts.bytes - load.distinctBytes);
    load.chainedTokens += sign * promptTokens;
    load.chainedBytes += sign * prompt.bytes;
    load.distinctBytes = prompts.bytes;
    return prompt.bytes > 0 ? (promptTokens * ownBytes) / prompt.bytes : promptTokens;
  }

  #advanced(replica: number, nowMs: number): LoadReading {
    const { load, reading } = this.#of(replica);
    const passedMs = Math.max(0, nowMs - reading.atMs);
    reading.sequenceMs += load.decoding * passedMs;
    reading.contextMs += load.decodingTokens * passedMs;
    reading.atMs += passedMs;
    return reading;
  }

  #of(replica: number): LoadSums {
    const kept = this.#kept[replica];
    if (kept === undefined) throw new RangeError(`replica slot ${replica} is not 0 … ${MAX_REPLICAS - 1}`);
    return kept;
  }
}
