/** One tenant's records in the ring, and which of them it can best do without. */
import type { CompactRecord, ExplainRecord, RunningDecision } from "./record.ts";

/** This many of a tenant's last decisions are always among its records, and as many of the last that have ended. */
export const LAST = 100;

export interface RingEntry {
  /** The record, or what is left of it. */
  known: RunningDecision;
  record: ExplainRecord | CompactRecord | null;
  /** Counts all that were ever added. */
  number: number;
  bytes: number;
  running: boolean;
  /** The row of storage where it lies; null: in none. */
  row: number | null;
  /** The set that it is in. */
  part: Set<RingEntry> | null;
}

export class TenantRecords {
  /** The last that were decided, oldest first. */
  readonly #last = new Set<RingEntry>();
  /** Older ones that still run: a sample where there is no room for all. */
  readonly #running = new Set<RingEntry>();
  /** Older ones that have ended, in that order. */
  readonly #ended = new Set<RingEntry>();
  /** The one that came last from `#last` into `#running`. */
  #newest: RingEntry | null = null;

  get size(): number {
    return this.#last.size + this.#running.size + this.#ended.size;
  }

  *entries(): Generator<RingEntry> {
    yield* this.#last;
    yield* this.#running;
    yield* this.#ended;
  }

  add(entry: RingEntry): void {
    entry.part = this.#last.add(entry);
    const oldest = this.#last.size > LAST ? firstOf(this.#last) : undefined;
    if (oldest === undefined) return;
    this.#move(oldest, oldest.running ? this.#running : this.#ended);
    if (oldest.running) this.#newest = oldest;
  }

  /** One of them runs no longer. */
  ended(entry: RingEntry): void {
    if (entry.part === this.#running) this.#move(entry, this.#ended);
  }

  remove(entry: RingEntry): void {
    entry.part?.delete(entry);
    entry.part = null;
    if (this.#newest === entry) this.#newest = null;
  }

  /**
   * The oldest of those ended while they are more than `LAST`. Then the newest of those running: the others have been kept for longer,
   * so some are kept to their ends and not all are given up half way.
   */
  leastWanted(): RingEntry | undefined {
    if (this.#ended.size > LAST) return firstOf(this.#ended);
    const running = this.#newest?.part === this.#running ? this.#newest : firstOf(this.#running);
    return running ?? firstOf(this.#ended) ?? firstOf(this.#last);
  }

  #move(entry: RingEntry, into: Set<RingEntry>): void {
    entry.part?.delete(entry);
    entry.part = into.add(entry);
  }
}

export function firstOf<T>(set: ReadonlySet<T>): T | undefined {
  return set.values().next().value;
}
