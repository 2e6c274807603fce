import type { ErrorCode } from "../errors.ts";
import { SaltShares } from "./salt-shares.ts";
import { CLAIM_LIVES_MS } from "../limits.ts";

const MAX_CLAIMS = 1_024;
/** Whoever waits is at most so many classes down, and a class higher after each such time. */
const CLASS_AGES_MS = 20_000;
/** A second waited counts as half a second of prefill less. */
const WAITED_WEIGHT = 0.5;
/** The pace at which the line moves is that of the last half minute in which somebody waited, about. */
const PACE_MS = 30_000;
/** From so many departures on its pace is evidence. */
const LEAST_DEPARTURES = 8;
/** What is learnt of one pause. */
const MOST_GAP_MS = 10_000;

export type Priority = "high" | "normal" | "low";
/** Classes, first one first. */
const CLASS: Readonly<Record<Priority, number>> = { high: 0, normal: 1, low: 2 };

interface Waiting {
  priority?: Priority | undefined;
  salt?: string;
  /** Its own predicted prefill, ms, where that is least. */
  workMs?: number;
}

/** A renewable claim on the next free place: a held RPC may vanish, the claim then dies by itself. */
export interface Claim {
  id: string;
  /** Pool clock of the first call; the caller brings it again when it renews, so a restart of the pool keeps the order. */
  arrivedAtMs: number;
  /** Pool clock. */
  renewedAtMs: number;
  priority: Priority;
  salt: string;
  workMs: number;
}

type EnterOutcome =
  /** `position` 0 is next. Renew within `retryWithinMs` or lose the place. */
  | { kind: "waiting"; position: number; retryWithinMs: number }
  /** The bound is reached. */
  | { kind: "refused"; code: Extract<ErrorCode, "overloaded">; reason: string };

interface RankedClaim extends Claim {
  /** Breaks ties of arrival. */
  order: number;
  /** Arrival, later by what its class is behind: so that the first of the line are those that come first sooner or later. */
  ranksAtMs: number;
}

/**
 * Requests that wait for a replica. Kept by arrival, with a class's delay; who of the first is next is `inTurn`'s to say. Bounded; time is
 * the caller's.
 */
export class WaitingLine {
  readonly #byId = new Map<string, RankedClaim>();
  /** Sorted by (ranksAtMs, order). */
  readonly #line: RankedClaim[] = [];
  readonly #maxClaims: number;
  readonly #shares = new SaltShares();
  /** Predicted prefill of those who wait. */
  #workMs = 0;
  #order = 0;
  #changes = 0;
  #lastLeftMs: number | null = null;
  /** Of the time in which somebody waited, and of departures in it, what is remembered; and how many there were in all. */
  #waitedMs = 0;
  #recentlyLeft = 0;
  #left = 0;

  constructor(maxClaims = MAX_CLAIMS) {
    this.#maxClaims = maxClaims;
  }

  get length(): number {
    return this.#line.length;
  }

  /** Counts entries and departures. */
  get changes(): number {
    return this.#changes;
  }

  /** Enters, or renews when the id is known. An `arrivedAtMs` in the future counts as now. */
  enter(id: string, arrivedAtMs: number, nowMs: number, waiting: Waiting = {}): EnterOutcome {
    const known = this.renew(id, nowMs);
    if (known !== null) return known;
    if (this.#line.length >= this.#maxClaims)
      return { kind: "refused", code: "overloaded", reason: `${this.#maxClaims} requests are waiting already` };
    const { priority = "normal", salt = "", workMs = 0 } = waiting;
    const arrived = Math.min(arrivedAtMs, nowMs);
    const ranksAtMs = arrived + CLASS[priority] * CLASS_AGES_MS;
    const order = this.#order++;
    const claim: RankedClaim = { id, arrivedAtMs: arrived, renewedAtMs: nowMs, priority, salt, workMs, order, ranksAtMs };
    if (this.#line.length === 0) this.#lastLeftMs = nowMs;
    const place = this.#placeOf(claim);
    this.#line.splice(place, 0, claim);
    this.#byId.set(id, claim);
    this.#sum(claim, 1);
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

  /** The first `limit` that may be looked at, by arrival and class; looks only. */
  heads(limit: number, may: (claim: Readonly<Claim>) => boolean = () => true): readonly Readonly<Claim>[] {
    const heads: Claim[] = [];
    for (const claim of this.#line) {
      if (heads.length >= limit) break;
      if (may(claim)) heads.push(claim);
    }
    return heads;
  }

  /**
   * Who of `heads` is when in turn: by class, and in a class by own prefill - half the time waited + the tenant's setback. A class is left
   * for the one above after 20 s each, so from 40 s on everybody is in the first; and whoever waits T ms longer than another with
   * T > 2 * (its prefill + 2,000) comes before it whatever both are: nobody waits forever.
   *
   * @param workMs of each of `heads`: its own predicted prefill, where that is least.
   * @returns indices into `heads`, next first.
   */
  inTurn(heads: readonly Readonly<Claim>[], workMs: ArrayLike<number>, nowMs: number): number[] {
    const setbacks = this.#shares.setbacks(
      heads.map(({ salt }) => salt),
      nowMs,
    );
    const keys = heads.map(({ arrivedAtMs, priority, salt }, index) => {
      const waitedMs = Math.max(0, nowMs - arrivedAtMs);
      const behind = Math.max(0, CLASS[priority] - Math.floor(waitedMs / CLASS_AGES_MS));
      return { behind, ms: (workMs[index] ?? 0) - WAITED_WEIGHT * waitedMs + (setbacks.get(salt) ?? 0) };
    });
    const order = heads.map((_, index) => index);
    return order.sort((left, right) => {
      const [a, b] = [keys[left], keys[right]];
      return a === undefined || b === undefined ? 0 : a.behind - b.behind || a.ms - b.ms || left - right;
    });
  }

  /** Takes a claim out because its request goes to a replica; without an id the first. Null when there is none. */
  take(id?: string, nowMs?: number): Claim | null {
    const claim = id === undefined ? this.#line[0] : this.#byId.get(id);
    if (claim === undefined) return null;
    this.#line.splice(this.#placeOf(claim), 1);
    this.#byId.delete(claim.id);
    this.#sum(claim, -1);
    if (nowMs !== undefined) this.#leave(claim, nowMs);
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

  /** Predicted prefill of those who wait. */
  get workMs(): number {
    return this.#workMs;
  }

  /** How long those who wait would take to leave at the pace of late, ms; 0 while nobody has left. */
  get paceMs(): number {
    return this.#gapMs * this.#line.length;
  }

  /** Enough have left to hold the pace against anybody. */
  get knowsPace(): boolean {
    return this.#left >= LEAST_DEPARTURES;
  }

  /** Mean time between two departures of late; a single pause says little of it. */
  get #gapMs(): number {
    return this.#left === 0 ? 0 : this.#waitedMs / this.#recentlyLeft;
  }

  /** Who would come before one that enters now with `workMs` of own prefill (`inTurn`, tenants' setbacks left out): their prefill, and how long as many take to leave at the pace of late. */
  before(priority: Priority, workMs: number, nowMs: number): { workMs: number; paceMs: number } {
    let [count, sum] = [0, 0];
    for (const claim of this.#line) {
      const waitedMs = nowMs - claim.arrivedAtMs;
      const behind = Math.max(0, CLASS[claim.priority] - Math.floor(waitedMs / CLASS_AGES_MS)) - CLASS[priority];
      if (behind > 0 || (behind === 0 && claim.workMs - WAITED_WEIGHT * waitedMs > workMs)) continue;
      count++;
      sum += claim.workMs;
    }
    return { workMs: sum, paceMs: this.#gapMs * count };
  }

  /** A request was given a place, from the line or at once: its tenant was served. */
  serve(salt: string, workMs: number, nowMs: number): void {
    this.#shares.serve(salt, workMs, nowMs);
  }

  /** The time since the departure before says how fast the line moves. */
  #leave(claim: Claim, nowMs: number): void {
    this.serve(claim.salt, claim.workMs, nowMs);
    if (this.#lastLeftMs !== null) {
      const gapMs = Math.min(MOST_GAP_MS, Math.max(0, nowMs - this.#lastLeftMs));
      const keep = Math.exp(-gapMs / PACE_MS);
      this.#waitedMs = keep * this.#waitedMs + gapMs;
      this.#recentlyLeft = keep * this.#recentlyLeft + 1;
      this.#left++;
    }
    this.#lastLeftMs = nowMs;
  }

  #sum({ workMs }: Claim, sign: 1 | -1): void {
    this.#changes++;
    // Ends the drift of adding and subtracting fractions, too.
    this.#workMs = this.#line.length === 0 ? 0 : Math.max(0, this.#workMs + sign * workMs);
  }

  #placeOf(claim: RankedClaim): number {
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

function isBefore(left: RankedClaim, right: RankedClaim): boolean {
  return left.ranksAtMs === right.ranksAtMs ? left.order < right.order : left.ranksAtMs < right.ranksAtMs;
}
