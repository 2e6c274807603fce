/** What of a replica's announcements has come, and when it is asked again. */
import { MAX_REPLICAS, type SegmentIndex } from "../residency/segment-index.ts";
import type { PoolEvents } from "./events.ts";

/** A resync that was asked for gets this long before it is asked for again. */
const RESYNC_PATIENCE_MS = 1_000;
/** A replica whose entries are counted otherwise than it counts them announces all of them at most so often. */
const RECOUNT_MS = 30_000;
/** Share of the index's places up to which nothing has to be thrown out. */
const ROOMY = 0.9;

/** Ask for all after this sequence number; null: for everything. */
export type ResyncNeed = { afterSeq: number | null } | null;

interface Sync {
  /** Of the last frame applied. */
  seq: number;
  /** Sequence number of the full resync that has begun and not ended; null when there is none. */
  filling: number | null;
  askedAtMs: number;
  /** When it was last asked for everything. */
  allAskedAtMs: number;
  /** Entries that its last heartbeat named; null before the first. */
  reported: number | null;
  /** What the index had thrown out, of whomever, when this replica's last full resync ended; null: not known. */
  evicted: number | null;
}

export class Resyncs {
  readonly #events: PoolEvents;
  readonly #index: SegmentIndex;
  readonly #syncs: Sync[];

  /** @param events hear of every ask. */
  constructor(events: PoolEvents, index: SegmentIndex) {
    this.#events = events;
    this.#index = index;
    this.#syncs = Array.from({ length: MAX_REPLICAS }, () => this.#fresh());
  }

  of(slot: number): Sync {
    const sync = this.#syncs[slot];
    if (sync === undefined) throw new RangeError(`replica slot ${slot} is not 0 … ${MAX_REPLICAS - 1}`);
    return sync;
  }

  /** From a checkpoint, which does not say what was thrown out before it. */
  restored(slot: number, seq: number): void {
    Object.assign(this.of(slot), { ...this.#fresh(), seq, evicted: null });
  }

  forget(slot: number): void {
    Object.assign(this.of(slot), this.#fresh());
  }

  /** Null while the last ask may still be answered. */
  ask(slot: number, afterSeq: number | null, nowMs: number): ResyncNeed {
    return nowMs - this.of(slot).askedAtMs < RESYNC_PATIENCE_MS ? null : this.askNow(slot, afterSeq, nowMs);
  }

  askNow(slot: number, afterSeq: number | null, nowMs: number): ResyncNeed {
    const sync = this.of(slot);
    sync.askedAtMs = nowMs;
    if (afterSeq === null) sync.allAskedAtMs = nowMs;
    this.#events.emit({ kind: "resync", slot, afterSeq });
    return { afterSeq };
  }

  /**
   * Whether a replica all of whose frames are applied should announce everything again, because the index counts otherwise. A crowded index throws entries
   * out, and then it may know fewer: asking would only make it throw out more.
   *
   * @param ready slots whose entries should have room.
   */
  isMiscounted(slot: number, ready: readonly number[], nowMs: number): boolean {
    const sync = this.of(slot);
    if (this.#index.count(slot) === sync.reported || nowMs - sync.allAskedAtMs < RECOUNT_MS) return false;
    if (this.#index.evicted === sync.evicted) return true;
    const reported = ready.reduce((sum, one) => sum + (this.of(one).reported ?? this.#index.count(one)), 0);
    return reported <= this.#index.places * ROOMY;
  }

  #fresh(): Sync {
    return { seq: 0, filling: null, askedAtMs: -Infinity, allAskedAtMs: -Infinity, reported: null, evicted: this.#index.evicted };
  }
}
