import type { ErrorCode } from "../errors.ts";

/** A waiter that was not renewed for so long is dropped. */
export const CLAIM_LIVES_MS = 7_000;
export const MAX_CLAIMS = 1_024;

/** A renewable claim on the next free place: a held RPC may vanish, the claim then dies by itself. */
export interface Claim {
  id: string;
  /** Pool clock of the first call; the caller brings it again when it renews, so a restart of the pool keeps the order. */
  arrivedAtMs: number;
  /** Pool clock. */
  renewedAtMs: number;
}

export type EnterOutcome =
  /** `position` 0 is next. Renew within `retryWithinMs` or lose the place. */
  | { kind: "waiting"; position: number; retryWithinMs: number }
  /** The bound is reached. */
  | { kind: "refused"; code: Extract<ErrorCode, "overloaded">; reason: string };

interface Placed extends Claim {
  /** Breaks ties of arrival. */
  order: number;
}

/** Requests that wait for a replica: first come, first served. Time is the caller's. */
export class WaitingLine {
  readonly #byId = new Map<string, Placed>();
  /** Sorted by (arrivedAtMs, order). */
  readonly #line: Placed[] = [];
  readonly #maxClaims: number;
  #order = 0;

  constructor(maxClaims = MAX_CLAIMS) {
    this.#maxClaims = maxClaims;
  }

  get length(): number {
    return this.#line.length;
  }

  /** Enters, or renews when the id is known. An `arrivedAtMs` in the future counts as now. */
  enter(id: string, arrivedAtMs: number, nowMs: number): EnterOutcome {
    const known = this.renew(id, nowMs);
    if (known !== null) return known;
    if (this.#line.length >= this.#maxClaims)
      return { kind: "refused", code: "overloaded", reason: `${this.#maxClaims} requests are waiting already` };
    const claim: Placed = { id, arrivedAtMs: Math.min(arrivedAtMs, nowMs), renewedAtMs: nowMs, order: this.#order++ };
    const place = this.#placeOf(claim);
    this.#line.splice(place, 0, claim);
    this.#byId.set(id, claim);
    return { kind: "waiting", position: place, retryWithinMs: CLAIM_LIVES_MS };
  }

  /** Null when the id is not waiting (any more). */
  renew(id: string, nowMs: number): Extract<EnterOutcome, { kind: "waiting" }> | null {
    const claim = this.#byId.get(id);
    if (claim === undefined) return null;
    claim.renewedAtMs = Math.max(claim.renewedAtMs, nowMs);
    return { kind: "waiting", position: this.#placeOf(claim), retryWithinMs: CLAIM_LIVES_MS };
  }

  /** 0 is next; null when not waiting. */
  position(id: string): number | null {
    const claim = this.#byId.get(id);
    return claim === undefined ? null : this.#placeOf(claim);
  }

  /** The first `limit`, next one first; looks only. */
  heads(limit: number): readonly Readonly<Claim>[] {
    return this.#line.slice(0, limit);
  }

  /** Takes a claim out because its request goes to a replica; without an id the next one. Null when there is none. */
  take(id?: string): Claim | null {
    const claim = id === undefined ? this.#line[0] : this.#byId.get(id);
    if (claim === undefined) return null;
    this.#line.splice(this.#placeOf(claim), 1);
    this.#byId.delete(claim.id);
    return claim;
  }

  /** Takes a claim out because its caller gave up; true when it was waiting. */
  drop(id: string): boolean {
    return this.#byId.has(id) && this.take(id) !== null;
  }

  /** Drops and returns those not renewed for 7 s. */
  expire(nowMs: number): Claim[] {
    const dead = this.#line.filter((claim) => nowMs - claim.renewedAtMs >= CLAIM_LIVES_MS);
    for (const claim of dead) this.take(claim.id);
    return dead;
  }

  /** When `expire` next has something to do, pool clock; null when nobody waits. */
  nextDeadlineMs(): number | null {
    let next: number | null = null;
    for (const claim of this.#line) next = Math.min(next ?? Infinity, claim.renewedAtMs + CLAIM_LIVES_MS);
    return next;
  }

  #placeOf(claim: Placed): number {
    let low = 0;
    let high = this.#line.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = this.#line[middle];
      if (other !== undefined && isBefore(other, claim)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function isBefore(left: Placed, right: Placed): boolean {
  return left.arrivedAtMs === right.arrivedAtMs ? left.order < right.order : left.arrivedAtMs < right.arrivedAtMs;
}
