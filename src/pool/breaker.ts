/**
 * Leaves a replica out that fails every request, as Envoy's outlier detection does with consecutive failures
 * (https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier). Evidence are requests that edges have sent, never a prediction:
 *
 * - 3 failures in a row without a success between them leave it out for 1 s. Then one request tries it: a failure leaves it out for twice as long, up to 10 s;
 *   until the outcome is known, nobody else goes there for as long as the last pause was.
 * - A success, or a new epoch, clears all.
 * - A request that was sent before the replica was left out shows nothing new.
 */

/** In a row. */
export const FAILURES_ALLOWED = 3;
export const FIRST_PAUSE_MS = 1_000;
/** As long as a replica is excluded for a request that it failed. */
export const MOST_PAUSE_MS = 10_000;

/** A replica was left out just now. */
export interface LeftOut {
  slot: number;
  /** In a row. */
  failures: number;
  pauseMs: number;
}

interface Row {
  epoch: number;
  /** In a row. */
  failures: number;
  /** Of the last time that it was left out, ms; 0: it was not since its last success. */
  pauseMs: number;
  /** When it was left out, or tried, last; pool clock. */
  sinceMs: number;
  /** Nobody goes there before; pool clock. */
  untilMs: number;
}

export class Breaker {
  /** By slot; none: no failure since the last success. */
  readonly #rows = new Map<number, Row>();

  /** An edge's word, once an attempt: it came to nothing, and its client had no part in that. `sentAtMs`: when it was sent there. Null: nothing new. */
  failed(slot: number, epoch: number, sentAtMs: number, nowMs: number): LeftOut | null {
    let row = this.#rows.get(slot);
    if (row?.epoch !== epoch) this.#rows.set(slot, (row = { epoch, failures: 0, pauseMs: 0, sinceMs: -Infinity, untilMs: -Infinity }));
    if (sentAtMs < row.sinceMs) return null;
    row.failures++;
    if (row.failures < FAILURES_ALLOWED) return null;
    row.pauseMs = row.pauseMs === 0 ? FIRST_PAUSE_MS : Math.min(MOST_PAUSE_MS, 2 * row.pauseMs);
    row.sinceMs = nowMs;
    row.untilMs = nowMs + row.pauseMs;
    return { slot, failures: row.failures, pauseMs: row.pauseMs };
  }

  /** An answer of the replica came to its end. */
  succeeded(slot: number, epoch: number): void {
    if (this.#rows.get(slot)?.epoch === epoch) this.#rows.delete(slot);
  }

  /** A request goes there: if the pause is over, it is the one that tries. */
  sent(slot: number, epoch: number, nowMs: number): void {
    const row = this.#rows.get(slot);
    if (row === undefined || row.epoch !== epoch || row.pauseMs === 0 || nowMs < row.untilMs) return;
    row.sinceMs = nowMs;
    row.untilMs = nowMs + row.pauseMs;
  }

  isOut(slot: number, epoch: number, nowMs: number): boolean {
    const row = this.#rows.get(slot);
    return row !== undefined && row.epoch === epoch && nowMs < row.untilMs;
  }

  /** The slot is free, or another life's. */
  forget(slot: number): void {
    this.#rows.delete(slot);
  }
}
