/**
 * Where each of the line would be cheapest, as transfers.ts chooses for one: on a replica alone, with a pull, or prefilled by another one.
 * Costs are kept by waiter and replica and filled anew for replicas whose load has changed, as a plan asks for them many times.
 */
import { score, unscored } from "../decision/cost.ts";
import type { CandidateView, Profile, RequestView, ScoredCandidate } from "../decision/decision.ts";
import { MOST_SENDERS } from "../decision/transfers.ts";
import { isFull } from "../decision/capacity.ts";
import { hold, type Holdings } from "./view.ts";
import { computesLittleAgain, maySend, mostElsewhere, mostPulled, pullFor, receivingCost, sendingCost } from "../decision/transfer-cost.ts";

export interface Waiting {
  seen: RequestView;
  holdings: Holdings;
}

/** Columns: where it goes, and where its prompt is computed for how long, ms. */
export interface Way {
  column: number;
  prefills: number;
  workMs: number;
}

export interface WaysSetting {
  profile: Profile;
  meanOutputTokens: number;
  /** Null: nothing is prefilled elsewhere. */
  remotePrefillTokens: number | null;
}

const OPEN = 1;
const FULL = 2;
const TOO_SLOW = 3;

/** A row per waiter, a column per replica; costs without V, which the caller has. Infinity: cannot be. */
export class LineCosts {
  readonly #setting: WaysSetting;
  readonly #waiters: readonly Waiting[];
  readonly #views: readonly CandidateView[];
  readonly #plannedMs: Float64Array;
  readonly #cost: Float64Array;
  readonly #work: Float64Array;
  readonly #open: Uint8Array;
  /** With a pull, and the work that is left then; whether so much is missing after it that another may prefill. */
  readonly #pulled: Float64Array;
  readonly #pulledWork: Float64Array;
  readonly #leavesAfterPull: Uint8Array;
  /** What is left to it when another prefills, and a prefill on it for another. */
  readonly #receiving: Float64Array;
  readonly #sending: Float64Array;
  readonly #uncached: Float64Array;
  /** Of each row: the two columns that could send most. */
  readonly #holders: Int16Array;
  readonly #moves: boolean;
  readonly #scratch = unscored();
  /** Of the row that is looked at: cost without another replica's prefill, V included, and whether with a pull. */
  readonly #own: Float64Array;
  readonly #pulls: Uint8Array;

  /** @param plannedMs V by column, which changes. `views` may be replaced in place; say `fill` then. */
  constructor(setting: WaysSetting, waiters: readonly Waiting[], views: readonly CandidateView[], plannedMs: Float64Array) {
    this.#setting = setting;
    this.#waiters = waiters;
    this.#views = views;
    this.#plannedMs = plannedMs;
    this.#moves = views.some(({ transfers }) => transfers);
    const cells = waiters.length * views.length;
    const moved = this.#moves ? cells : 0;
    this.#cost = new Float64Array(cells);
    this.#work = new Float64Array(cells);
    this.#open = new Uint8Array(cells);
    this.#pulled = new Float64Array(moved);
    this.#pulledWork = new Float64Array(moved);
    this.#leavesAfterPull = new Uint8Array(moved);
    this.#receiving = new Float64Array(moved);
    this.#sending = new Float64Array(moved);
    this.#uncached = new Float64Array(moved);
    this.#holders = new Int16Array(2 * waiters.length).fill(-1);
    this.#own = new Float64Array(views.length);
    this.#pulls = new Uint8Array(views.length);
    if (this.#moves) for (let row = 0; row < waiters.length; row++) this.#findHolders(row);
    for (let column = 0; column < views.length; column++) this.fill(column);
  }

  /** Null: it fits nowhere now, or one that decodes too slowly for it is worth waiting for. */
  wayOf(row: number): Way | null {
    const slow = this.#cheapest(row, TOO_SLOW);
    if (slow !== -1 && this.#alone(row, slow) < this.#alone(row, this.#cheapest(row, OPEN))) return null;
    if (this.#moves) return this.#cheapestWay(row);
    const column = this.#cheapest(row, OPEN);
    return column === -1 ? null : { column, prefills: column, workMs: this.#work[this.#cell(row, column)] ?? 0 };
  }

  /** Of those that are full; -1 when there is none. */
  cheapestFull(row: number): number {
    return this.#cheapest(row, FULL);
  }

  /** Rows that may go to this column now, whom it costs least first. */
  cheapestOn(column: number): number[] {
    const cost = (row: number): number => this.#cost[this.#cell(row, column)] ?? Infinity;
    const rows = Array.from(this.#waiters.keys()).filter((row) => this.#open[this.#cell(row, column)] === OPEN);
    return rows.sort((one, other) => cost(one) - cost(other));
  }

  /** Its own prefill where that is least; 0 where it may go nowhere. */
  leastWorkMs(row: number): number {
    let least = Infinity;
    for (let column = 0; column < this.#views.length; column++) {
      const cell = this.#cell(row, column);
      if (this.#open[cell] !== 0) least = Math.min(least, this.#work[cell] ?? Infinity);
    }
    return least === Infinity ? 0 : least;
  }

  /** Whether what is queued there, the plan included, is below its hold. */
  isSoon(column: number): boolean {
    const view = this.#views[column];
    return view !== undefined && view.queuedPrefillMs + (this.#plannedMs[column] ?? 0) < view.holdMs;
  }

  fill(column: number): void {
    const view = this.#views[column];
    if (view === undefined) return;
    const { profile, meanOutputTokens } = this.#setting;
    for (const [row, { seen, holdings }] of this.#waiters.entries()) {
      hold(view, holdings);
      const scored = score(view, seen, profile, meanOutputTokens, this.#scratch);
      const { cost, terms, barred } = scored;
      const cell = this.#cell(row, column);
      this.#cost[cell] = cost;
      this.#work[cell] = seen.counts === true ? 0 : terms.prefillMs + terms.loadMs;
      this.#open[cell] = barred === null ? OPEN : barred === "full" ? FULL : barred === "too slow" ? TOO_SLOW : 0;
      if (this.#moves) this.#fillMoves(row, column, view, scored);
    }
  }

  #fillMoves(row: number, column: number, view: CandidateView, scored: ScoredCandidate): void {
    const { profile, meanOutputTokens, remotePrefillTokens } = this.#setting;
    const waiter = this.#waiters[row];
    if (waiter === undefined) return;
    const { seen, holdings } = waiter;
    const cell = this.#cell(row, column);
    const { uncachedTokens, loadedTokens, cachedTokens, terms } = scored;
    const fetches = seen.counts !== true;
    const least = remotePrefillTokens ?? Infinity;
    const pull = fetches ? pullFor(view, scored, this.#heldElsewhere(row, column, holdings), profile, meanOutputTokens) : null;
    this.#pulled[cell] = pull?.cost ?? Infinity;
    this.#pulledWork[cell] = pull === null ? 0 : Math.max(0, terms.prefillMs + terms.loadMs - pull.insteadOfMs) + pull.transferMs;
    this.#leavesAfterPull[cell] = pull !== null && seen.promptTokens - cachedTokens - pull.tokens >= least ? 1 : 0;
    const sends = fetches && !view.decodeOnly && maySend(view, seen) && !isFull(view, uncachedTokens + loadedTokens, meanOutputTokens);
    this.#sending[cell] = sends ? sendingCost(scored, view, profile) : Infinity;
    this.#receiving[cell] = fetches && view.transfers && uncachedTokens >= least ? receivingCost(scored, view, profile) : Infinity;
    this.#uncached[cell] = uncachedTokens;
  }

  #findHolders(row: number): void {
    const waiter = this.#waiters[row];
    if (waiter === undefined) return;
    const { seen, holdings } = waiter;
    let [first, second] = [-1, -1];
    const held = (column: number): number => holdings.memoryTokens[this.#views[column]?.replica ?? -1] ?? -1;
    for (const [column, view] of this.#views.entries()) {
      if (!maySend(view, seen)) continue;
      if (held(column) > held(first)) [first, second] = [column, first];
      else if (held(column) > held(second)) second = column;
    }
    this.#holders[2 * row] = first;
    this.#holders[2 * row + 1] = second;
  }

  #heldElsewhere(row: number, column: number, { memoryTokens }: Holdings): number {
    const first = this.#holders[2 * row] ?? -1;
    const holder = first === column ? (this.#holders[2 * row + 1] ?? -1) : first;
    return memoryTokens[this.#views[holder]?.replica ?? -1] ?? 0;
  }

  /** Cost without transfers, V included; Infinity for -1. */
  #alone(row: number, column: number): number {
    return column === -1 ? Infinity : (this.#cost[this.#cell(row, column)] ?? 0) + this.#planned(column);
  }

  #cheapest(row: number, open: number): number {
    let best = -1;
    let least = Infinity;
    for (let column = 0; column < this.#views.length; column++) {
      const cell = this.#cell(row, column);
      if (this.#open[cell] !== open) continue;
      const cost = (this.#cost[cell] ?? 0) + this.#planned(column);
      if (cost >= least) continue;
      least = cost;
      best = column;
    }
    return best;
  }

  /** V, weighed; Infinity: kept free for another. */
  #planned(column: number): number {
    const planned = this.#plannedMs[column] ?? 0;
    return planned === 0 ? 0 : planned === Infinity ? Infinity : this.#setting.profile.weights.queueMs * planned;
  }

  #cheapestWay(row: number): Way | null {
    const mostAway = mostElsewhere(this.#lookAt(row));
    const senders = this.#sendersOf(row);
    let best: Way | null = null;
    let least = Infinity;
    for (let column = 0; column < this.#views.length; column++) {
      const own = this.#own[column] ?? Infinity;
      if (own === Infinity) continue;
      const away = this.#awayFrom(row, column, senders, mostAway);
      const cost = away?.cost ?? own;
      if (cost >= least) continue;
      least = cost;
      const cell = this.#cell(row, column);
      const ownWork = (this.#pulls[column] === 1 ? this.#pulledWork : this.#work)[cell] ?? 0;
      best = away === null ? { column, prefills: column, workMs: ownWork } : { column, prefills: away.sender, workMs: away.workMs };
    }
    return best;
  }

  /** Fills `#own` and `#pulls`; the least cost of those that compute for themselves. */
  #lookAt(row: number): number {
    let without = Infinity;
    for (let column = 0; column < this.#views.length; column++) {
      const cell = this.#cell(row, column);
      const cost = this.#open[cell] === OPEN ? (this.#cost[cell] ?? 0) + this.#planned(column) : Infinity;
      this.#own[column] = cost;
      without = Math.min(without, cost);
    }
    const most = mostPulled(without);
    let least = Infinity;
    for (const [column, { decodeOnly }] of this.#views.entries()) {
      const cost = this.#own[column] ?? Infinity;
      const pulled = cost === Infinity ? Infinity : (this.#pulled[this.#cell(row, column)] ?? Infinity) + this.#planned(column);
      const pulls = pulled !== Infinity && (cost === without || pulled <= most);
      this.#pulls[column] = pulls ? 1 : 0;
      if (pulls) this.#own[column] = pulled;
      if (!decodeOnly) least = Math.min(least, this.#own[column] ?? Infinity);
    }
    return least;
  }

  /** Columns of the cheapest, the cheapest first. */
  #sendersOf(row: number): number[] {
    const cost = (column: number): number => (this.#sending[this.#cell(row, column)] ?? Infinity) + this.#planned(column);
    const first: number[] = [];
    for (let column = 0; column < this.#views.length; column++) {
      if (cost(column) === Infinity) continue;
      let at = first.length;
      while (at > 0 && cost(column) < cost(first[at - 1] ?? 0)) at--;
      if (at >= MOST_SENDERS) continue;
      first.splice(at, 0, column);
      if (first.length > MOST_SENDERS) first.pop();
    }
    return first;
  }

  #awayFrom(
    row: number,
    column: number,
    senders: readonly number[],
    mostAway: number,
  ): { sender: number; cost: number; workMs: number } | null {
    const own = this.#cell(row, column);
    const receiving = this.#receiving[own] ?? Infinity;
    if (receiving === Infinity || (this.#pulls[column] === 1 && this.#leavesAfterPull[own] === 0)) return null;
    const leaves = this.#views[column]?.decodeOnly === true;
    let best: { sender: number; cost: number; workMs: number } | null = null;
    let least = Math.min(leaves ? Infinity : mostAway, this.#own[column] ?? Infinity);
    let isSoon = false;
    for (const sender of senders) {
      const cell = this.#cell(row, sender);
      if (sender === column || !computesLittleAgain(this.#uncached[cell] ?? 0, this.#uncached[own] ?? 0)) continue;
      const cost = receiving + (this.#sending[cell] ?? Infinity) + this.#planned(sender);
      const soon = leaves && this.isSoon(sender);
      if (soon === isSoon ? cost > least : isSoon) continue;
      isSoon = soon;
      least = cost;
      best = { sender, cost, workMs: this.#work[cell] ?? 0 };
    }
    return best;
  }

  #cell(row: number, column: number): number {
    return row * this.#views.length + column;
  }
}
