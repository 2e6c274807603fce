/**
 * What each request would cost on each replica, and with which transfer: computing the prompt itself, pulling from the best holder, or a prefill
 * on one of the two replicas that would be done first. The decision (decide.ts) reads one row; the plan of the line (router/line-costs.ts) reads
 * a row for each request that waits.
 *
 * Ties end the same way for both readers:
 * - Of two replicas that hold as much, the one with less queued sends, then the first.
 * - Of two replicas whose prefill for others costs as much, the one with fewer requests in flight prefills, then the first.
 * - A pull or a prefill elsewhere that costs exactly the most it may cost is taken.
 * - Of two replicas that cost as much for a request, the decision draws one. The plan has no draw and takes the first; after each lease it reads anew.
 *
 * Example: a decoder with 800 ms queued costs 1,000 for a prompt of 200 ms. Two replicas would prefill it for 200 each, and the transfer costs 80.
 * The row says 280, via the one of the two with fewer requests in flight.
 */
import { isFull } from "./capacity.ts";
import type { CandidateView, Profile, RequestView, ScoredCandidate } from "./decision.ts";
import { mostHeld } from "./holders.ts";
import { computesLittleAgain, maySend, mostElsewhere, mostPulled, pullFor, receivingCost, sendingCost } from "./transfer-cost.ts";

/** Replicas looked at to prefill elsewhere: those that would be done first. */
const MOST_SENDERS = 2;

/** What a replica is cheapest with: nothing, a pull, or a prefill on the replica of this column. */
export const ALONE = -1;
export const PULL = -2;

export interface CostSetting {
  profile: Profile;
  meanOutputTokens: number;
  /** A request is prefilled elsewhere only when its replica would have to compute so many tokens; null: never. */
  remotePrefillTokens: number | null;
}

/** Whether a replica can take a request: now, once it has a place, or once it decodes fast enough. */
export const BARRED = 0;
export const OPEN = 1;
export const FULL = 2;
export const TOO_SLOW = 3;

/** Numbers of a cell. Costs are without what the caller adds for its plan. */
const COST = 0;
/** Its own prefill and loading, ms. */
const WORK = 1;
const FEW = 2;
/** Cost with a pull, Infinity where none pays, and the work that is left then, ms. */
const PULLED = 2;
const PULLED_WORK = 3;
/** 1: so much is missing after the pull that another may prefill. */
const LEAVES = 4;
/** What is left to it when another prefills, and a prefill on it for another; Infinity: cannot be. */
const RECEIVING = 5;
const SENDING = 6;
const UNCACHED = 7;
const ALL = 8;

/** A row a request, a column a replica. `look` at a row, then read `costs` and `via`. */
export class CostTable {
  /** Of the row that was looked at, by column: the cost with its cheapest transfer and with what is planned there; Infinity: it is not open. */
  readonly costs: number[] = [];
  /** Of the same row: ALONE, PULL or the column that prefills. */
  readonly via: number[] = [];
  readonly #setting: CostSetting;
  readonly #requests: readonly RequestView[];
  readonly #views: readonly CandidateView[];
  readonly #numbers: number[] = [];
  readonly #state: number[] = [];
  /** Whether some cell is TOO_SLOW, or was. */
  #isSlow = false;
  /** Whether any replica transfers: without, cells have the first numbers only. */
  readonly #moves: boolean;
  readonly #fields: number;
  /** Of each row: the two columns that hold most and may send; -1: none. */
  readonly #holders: number[] = [];
  readonly #held: (row: number, view: CandidateView) => number;

  /**
   * @param views in the order of the columns; they may be replaced in place, and `fill` says so.
   * @param held tokens of a row's prompt in a replica's memory.
   */
  constructor(
    setting: CostSetting,
    requests: readonly RequestView[],
    views: readonly CandidateView[],
    held: (row: number, view: CandidateView) => number,
  ) {
    this.#setting = setting;
    this.#requests = requests;
    this.#views = views;
    this.#moves = views.some(({ transfers }) => transfers) && requests.some(({ counts }) => counts !== true);
    this.#fields = this.#moves ? ALL : FEW;
    this.#held = held;
    // On the JavaScript heap: a typed array of this size takes longer to make than to fill.
    this.#numbers.length = requests.length * views.length * this.#fields;
    if (!this.#moves) return;
    for (let row = 0; row < requests.length; row++) {
      const request = requests[row];
      if (request !== undefined) this.#holders.push(...mostHeld(request, views, row, held));
    }
  }

  /** `scored`: of this row's request on this column's replica. Nothing of it is kept. Columns are filled one after the other. */
  fill(row: number, column: number, scored: ScoredCandidate): void {
    const { cost, terms, barred } = scored;
    const counts = this.#requests[row]?.counts === true;
    const cell = this.#cell(row, column);
    this.#state[cell] = barred === null ? OPEN : barred === "full" ? FULL : barred === "too slow" ? TOO_SLOW : BARRED;
    if (barred === "too slow") this.#isSlow = true;
    this.#numbers[cell * this.#fields + COST] = cost;
    this.#numbers[cell * this.#fields + WORK] = counts ? 0 : terms.prefillMs + terms.loadMs;
    if (this.#moves) this.#fillMoves(row, column, scored);
  }

  #fillMoves(row: number, column: number, scored: ScoredCandidate): void {
    const [view, request] = [this.#views[column], this.#requests[row]];
    if (view === undefined || request === undefined) return;
    const { profile, meanOutputTokens, remotePrefillTokens } = this.#setting;
    const { uncachedTokens, loadedTokens, cachedTokens, terms } = scored;
    const fetches = request.counts !== true;
    const isOpen = fetches && scored.barred === null;
    const least = remotePrefillTokens ?? Infinity;
    const holder = isOpen ? this.#views[this.holderFor(row, column)] : undefined;
    const pull = holder === undefined ? null : pullFor(view, scored, this.#held(row, holder), profile, meanOutputTokens);
    const sends = fetches && remotePrefillTokens !== null && !view.decodeOnly && maySend(view, request);
    const at = this.#cell(row, column) * this.#fields;
    const numbers = this.#numbers;
    numbers[at + PULLED] = pull?.cost ?? Infinity;
    numbers[at + PULLED_WORK] = pull === null ? 0 : Math.max(0, terms.prefillMs + terms.loadMs - pull.insteadOfMs) + pull.transferMs;
    numbers[at + LEAVES] = pull !== null && request.promptTokens - cachedTokens - pull.tokens >= least ? 1 : 0;
    numbers[at + RECEIVING] = isOpen && view.transfers && uncachedTokens >= least ? receivingCost(scored, view, profile) : Infinity;
    numbers[at + SENDING] =
      sends && !isFull(view, uncachedTokens + loadedTokens, meanOutputTokens) ? sendingCost(scored, view, profile) : Infinity;
    numbers[at + UNCACHED] = uncachedTokens;
  }

  /** The column of who holds most of this row's prompt beyond this column, and may send; -1: none. */
  holderFor(row: number, column: number): number {
    const first = this.#holders[2 * row] ?? -1;
    return first === column ? (this.#holders[2 * row + 1] ?? -1) : first;
  }

  stateOf(row: number, column: number): number {
    return this.#state[this.#cell(row, column)] ?? BARRED;
  }

  /** Without any transfer, and without what is planned there. */
  costAlone(row: number, column: number): number {
    return this.#number(row, column, COST);
  }

  workAlone(row: number, column: number): number {
    return this.#number(row, column, WORK);
  }

  /** In the row that was looked at: what is computed, loaded and pulled by the replica that computes the prompt, ms. */
  workMs(row: number, column: number): number {
    const via = this.via[column] ?? ALONE;
    return via === PULL ? this.#number(row, column, PULLED_WORK) : this.#number(row, via === ALONE ? column : via, WORK);
  }

  /**
   * Fills `costs` and `via`.
   *
   * @param plannedMs V by column: prefills meant for it before this row; Infinity: nothing may go there. Null: none, or the costs have it already.
   */
  look(row: number, plannedMs: ArrayLike<number> | null): void {
    let without = Infinity;
    for (let column = 0; column < this.#views.length; column++) {
      const isOpen = this.stateOf(row, column) === OPEN;
      const cost = isOpen ? this.#number(row, column, COST) + this.plannedCost(column, plannedMs) : Infinity;
      this.costs[column] = cost;
      this.via[column] = ALONE;
      if (cost < without) without = cost;
    }
    if (!this.#moves || without === Infinity) return;
    const mostAway = mostElsewhere(this.#lookAtPulls(row, plannedMs, without));
    const senders = this.#sendersOf(row, plannedMs);
    if (senders.length === 0) return;
    for (let column = 0; column < this.#views.length; column++) {
      const decodeOnly = this.#views[column]?.decodeOnly === true;
      if (this.costs[column] !== Infinity) this.#sendAway(row, column, senders, decodeOnly ? null : mostAway, plannedMs);
    }
  }

  /** For one that was chosen by other costs than these: only replicas that leave prefills to others do so then. After `look`. */
  lookAtChosen(row: number, column: number): void {
    this.via[column] = ALONE;
    this.costs[column] = this.#number(row, column, COST);
    if (!this.#moves) return;
    const pulled = this.#number(row, column, PULLED);
    if (pulled !== Infinity) {
      this.costs[column] = pulled;
      this.via[column] = PULL;
    }
    if (this.#views[column]?.decodeOnly === true) this.#sendAway(row, column, this.#sendersOf(row, null), null, null);
  }

  /** Whether one that decodes too slowly for this row now would still cost less than `least`. Then it waits. */
  isWorthAwaiting(row: number, least: number, plannedMs: ArrayLike<number> | null): boolean {
    if (!this.#isSlow) return false;
    for (let column = 0; column < this.#views.length; column++) {
      if (this.stateOf(row, column) !== TOO_SLOW) continue;
      if (this.#number(row, column, COST) + this.plannedCost(column, plannedMs) < least) return true;
    }
    return false;
  }

  /** V, weighed. */
  plannedCost(column: number, plannedMs: ArrayLike<number> | null): number {
    const planned = plannedMs?.[column] ?? 0;
    return planned === 0 || planned === Infinity ? planned : this.#setting.profile.weights.queueMs * planned;
  }

  /** Whether what is queued there, what is planned included, is below its hold. */
  isSoon(column: number, plannedMs: ArrayLike<number> | null): boolean {
    const view = this.#views[column];
    return view !== undefined && view.queuedPrefillMs + view.plannedMs + (plannedMs?.[column] ?? 0) < view.holdMs;
  }

  /** Whoever would be chosen anyway pulls whenever that is cheaper, another one where it gains enough. The least cost of those that compute for themselves. */
  #lookAtPulls(row: number, plannedMs: ArrayLike<number> | null, without: number): number {
    const most = mostPulled(without);
    let least = Infinity;
    for (let column = 0; column < this.#views.length; column++) {
      const cost = this.costs[column] ?? Infinity;
      if (cost === Infinity) continue;
      const pulled = this.#number(row, column, PULLED) + this.plannedCost(column, plannedMs);
      if (pulled !== Infinity && (cost === without || pulled <= most)) {
        this.costs[column] = pulled;
        this.via[column] = PULL;
      }
      if (this.#views[column]?.decodeOnly !== true) least = Math.min(least, this.costs[column] ?? Infinity);
    }
    return least;
  }

  /** Columns of the cheapest, the cheapest first. */
  #sendersOf(row: number, plannedMs: ArrayLike<number> | null): number[] {
    const first: number[] = [];
    const costs: number[] = [];
    for (let column = 0; column < this.#views.length; column++) {
      const cost = this.#sendingOn(row, column, plannedMs);
      if (cost === Infinity) continue;
      let at = first.length;
      for (; at > 0; at--) {
        const other = costs[at - 1] ?? 0;
        if (cost > other || (cost === other && this.#inFlightOn(column) >= this.#inFlightOn(first[at - 1] ?? 0))) break;
      }
      if (at >= MOST_SENDERS) continue;
      first.splice(at, 0, column);
      costs.splice(at, 0, cost);
    }
    first.length = Math.min(first.length, MOST_SENDERS);
    return first;
  }

  #sendingOn(row: number, column: number, plannedMs: ArrayLike<number> | null): number {
    return this.#number(row, column, SENDING) + this.plannedCost(column, plannedMs);
  }

  #inFlightOn(column: number): number {
    return this.#views[column]?.inFlight ?? 0;
  }

  /**
   * The cheapest prefill on another replica, if that costs at most `mostCost` and no more than without. Null: it leaves prefills to others, so to
   * the cheapest that will soon start it whatever that costs, and where none will, to one that costs no more than it does itself.
   */
  #sendAway(row: number, column: number, senders: readonly number[], mostCost: number | null, plannedMs: ArrayLike<number> | null): void {
    const receiving = this.#number(row, column, RECEIVING);
    if (receiving === Infinity || (this.via[column] === PULL && this.#number(row, column, LEAVES) === 0)) return;
    const ownTokens = this.#number(row, column, UNCACHED);
    const most = Math.min(mostCost ?? Infinity, this.costs[column] ?? Infinity);
    let [best, least, isSoon] = [-1, Infinity, false];
    for (const sender of senders) {
      if (sender === column || !computesLittleAgain(this.#number(row, sender, UNCACHED), ownTokens)) continue;
      const cost = receiving + this.#sendingOn(row, sender, plannedMs);
      const soon = mostCost === null && this.isSoon(sender, plannedMs);
      if (soon === isSoon ? cost >= least || (!soon && cost > most) : isSoon) continue;
      [best, least, isSoon] = [sender, cost, soon];
    }
    if (best === -1) return;
    this.via[column] = best;
    this.costs[column] = least;
  }

  #number(row: number, column: number, field: number): number {
    return this.#numbers[this.#cell(row, column) * this.#fields + field] ?? Infinity;
  }

  #cell(row: number, column: number): number {
    return column * this.#requests.length + row;
  }
}
