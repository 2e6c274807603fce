/**
 * Prefills that take longer than they were predicted to. A prediction alone never ends: a prefill of 2 s that hangs would be 2 s of work for as
 * long as it hangs, and whoever waits for its replica would wait on. So the work of an overdue replica grows with the time that it is overdue
 * (what has run too long is expected to run as long again), and after some of it the replica is taken to be stuck: that is a price, by which
 * others avoid it, and no prediction of when its first tokens come.
 *
 * Overdue is counted from the replica's last first token: engines compute prompts side by side, so the next one may take as long as all of them.
 *
 * Example: one lease of 1,900 ms made at 0. Nothing is added until 1,900; at 3,000 it is 1,100 ms; from 5,700 on the price is 10 minutes more.
 */
import { MAX_REPLICAS } from "../residency/segment-index.ts";
import type { Lease } from "./lease.ts";

/** A replica is taken to be stuck when it is overdue for so many times its predicted work, within these bounds. */
const STUCK_AFTER_TIMES = 2;
const STUCK_AFTER_LEAST_MS = 1_000;
const STUCK_AFTER_MOST_MS = 10_000;
/** The price of waiting for a stuck replica: anything else is better. */
export const STUCK_MS = 600_000;
/** Its leases have ended by then, or it works on something that nobody foresaw. */
const MOST_OVERDUE_MS = 60_000;

interface Watched {
  /** Prefills that it computes or has queued. */
  count: number;
  /** Their predicted work, ms. */
  workMs: number;
  /** Of its last first token, or when the first of these came; pool clock. */
  quietSinceMs: number;
}

export class PrefillWatch {
  readonly #watched: Watched[] = Array.from({ length: MAX_REPLICAS }, () => ({ count: 0, workMs: 0, quietSinceMs: 0 }));

  /** A lease without a first token counts from now on. */
  began({ replica, predictedMs, awaits }: Lease, nowMs: number): void {
    const watched = this.#watched[replica];
    // What another replica computes comes when that one is done; and some are never reported.
    if (watched === undefined || awaits) return;
    if (watched.count === 0) watched.quietSinceMs = nowMs;
    watched.count++;
    watched.workMs += predictedMs;
  }

  /** It has its first token. */
  computed(lease: Lease, nowMs: number): void {
    const watched = this.#watched[lease.replica];
    if (watched !== undefined) watched.quietSinceMs = nowMs;
    this.gone(lease);
  }

  /** It counts no longer; that says nothing of whether its replica computes. */
  gone({ replica, predictedMs, awaits }: Lease): void {
    const watched = this.#watched[replica];
    if (watched === undefined || awaits || watched.count === 0) return;
    watched.count--;
    watched.workMs = watched.count === 0 ? 0 : Math.max(0, watched.workMs - predictedMs);
  }

  /** What its predicted work is to be raised by, ms. */
  overdueMs(replica: number, nowMs: number): number {
    const watched = this.#watched[replica];
    if (watched === undefined || watched.count === 0) return 0;
    return Math.min(MOST_OVERDUE_MS, Math.max(0, nowMs - watched.quietSinceMs - watched.workMs));
  }

  /** What waiting there costs besides, ms: STUCK_MS once it is taken to be stuck, else 0. */
  stuckMs(replica: number, nowMs: number): number {
    const overdueMs = this.overdueMs(replica, nowMs);
    if (overdueMs === 0) return 0;
    const workMs = this.#watched[replica]?.workMs ?? 0;
    const patienceMs = Math.min(STUCK_AFTER_MOST_MS, Math.max(STUCK_AFTER_LEAST_MS, STUCK_AFTER_TIMES * workMs));
    return overdueMs < patienceMs ? 0 : STUCK_MS;
  }
}
