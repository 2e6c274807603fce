import { MAX_REPLICAS } from "../residency/segment-index.ts";
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
  /** The longest cached part of one of them. */
  longestCachedTokens: number;
}

/**
 * U: KV tokens that the running requests hold: what each added, plus the longest cached part once. Exact when they share one prefix;
 * too low by the other prefixes when they share several.
 */
export function liveKvTokens(load: ReplicaLoad): number {
  return load.uncachedTokens + load.outputTokens + load.longestCachedTokens;
}

function noLoad(): ReplicaLoad {
  return { inFlight: 0, queuedPrefillMs: 0, promptTokens: 0, uncachedTokens: 0, outputTokens: 0, longestCachedTokens: 0 };
}

/** Keeps the sums as leases come and go. */
export class LoadBook {
  readonly #loads: ReplicaLoad[] = Array.from({ length: MAX_REPLICAS }, noLoad);

  of(replica: number): ReplicaLoad {
    const load = this.#loads[replica];
    if (load === undefined) throw new RangeError(`replica slot ${replica} is not 0 … ${MAX_REPLICAS - 1}`);
    return load;
  }

  add(lease: Lease): void {
    const load = this.of(lease.replica);
    load.inFlight++;
    load.queuedPrefillMs += lease.predictedMs;
    load.promptTokens += lease.promptTokens;
    load.uncachedTokens += lease.uncachedTokens;
    load.longestCachedTokens = Math.max(load.longestCachedTokens, cachedOf(lease));
  }

  firstToken(lease: Lease): void {
    const load = this.of(lease.replica);
    load.queuedPrefillMs = Math.max(0, load.queuedPrefillMs - lease.predictedMs);
  }

  output(lease: Lease, moreTokens: number): void {
    this.of(lease.replica).outputTokens += moreTokens;
  }

  /** `rest`: the leases that stay; looked at only when the longest cached part went. */
  subtract(lease: Lease, rest: Iterable<Lease>): void {
    const load = this.of(lease.replica);
    if (load.inFlight <= 1) {
      // Also ends the drift of adding and subtracting fractions.
      Object.assign(load, noLoad());
      return;
    }
    load.inFlight--;
    load.promptTokens -= lease.promptTokens;
    load.uncachedTokens -= lease.uncachedTokens;
    load.outputTokens -= lease.outputTokens;
    if (lease.firstTokenAtMs === null) this.firstToken(lease);
    if (cachedOf(lease) < load.longestCachedTokens) return;
    load.longestCachedTokens = 0;
    for (const other of rest) load.longestCachedTokens = Math.max(load.longestCachedTokens, cachedOf(other));
  }
}

function cachedOf(lease: Lease): number {
  return Math.max(0, lease.promptTokens - lease.uncachedTokens);
}
