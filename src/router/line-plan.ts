/**
 * Late binding: who of the line goes where now. Each in turn takes the replica where it costs least, the prefills
 * planned before it included; where W + V is below the replica's hold it is sent, else its prefill is added to V, a plan that binds nobody. Where
 * it is cheapest with its prompt prefilled by another replica (src/decision/cost-table.ts), W, V and hold are that one's.
 *
 * Example: one replica with W = 0 and a hold of 100 ms, and three in line of 80 ms each. The first is sent, then W = 80 and so is the second;
 * the third finds W = 160 and waits, for this replica or another.
 */
import type { Claim } from "../pool/waiting-line.ts";
import type { Replica } from "../pool/replica.ts";
import { MAX_REPLICAS } from "../residency/segment-index.ts";
import { score, unscored } from "../decision/cost.ts";
import type { CandidateView, Profile, RequestView } from "../decision/decision.ts";
import { LineCosts } from "./line-costs.ts";
import type { PoolState } from "./state.ts";
import { PATIENCE_MS } from "./request-view.ts";
import { followPaths, hold, type Holdings, loadedView } from "./view.ts";

export interface Waiter {
  claim: Readonly<Claim>;
  seen: RequestView;
  holdings: Holdings;
}

interface Turn {
  /** Index into the waiters. */
  waiter: number;
  /** V by slot: of those before it. Valid until the next turn. */
  plannedMs: Float64Array;
}

/** The request's own prefill where that is least, of all replicas that could take it sooner or later; 0 when none is here. */
export function leastWorkMs(state: PoolState, profile: Profile, seen: RequestView, holdings: Holdings, nowMs: number): number {
  if (seen.counts === true) return 0;
  const scratch = unscored();
  let least = Infinity;
  for (const replica of state.membership.replicas) {
    const view = loadedView(state, replica, nowMs);
    hold(view, holdings);
    const { terms, barred } = score(view, seen, profile, state.rates.meanOutputTokens, scratch);
    if (barred === null || barred === "full" || barred === "too slow") least = Math.min(least, terms.prefillMs + terms.loadMs);
  }
  return least === Infinity ? 0 : least;
}

export class LinePlan {
  readonly #state: PoolState;
  readonly #profile: Profile;
  readonly #nowMs: number;
  readonly #waiters: readonly Waiter[];
  readonly #replicas: readonly Replica[];
  readonly #views: CandidateView[];
  readonly #costs: LineCosts;
  readonly #order: number[];
  /** V by slot, and by column. */
  readonly #planned = new Float64Array(MAX_REPLICAS);
  readonly #plannedOn: Float64Array;
  readonly #sent = new Set<number>();
  #at = 0;
  /** Where the last turn's waiter was meant to be computed, and for how long, ms. */
  #meant = { prefillsOn: -1, workMs: 0 };

  constructor(state: PoolState, profile: Profile, waiters: readonly Waiter[], nowMs: number) {
    this.#state = state;
    this.#profile = profile;
    this.#nowMs = nowMs;
    this.#waiters = waiters;
    this.#replicas = state.membership.replicas;
    this.#views = this.#replicas.map((replica) => loadedView(state, replica, nowMs));
    this.#plannedOn = new Float64Array(this.#views.length);
    const { rates, remotePrefillTokens, line } = state;
    const setting = { profile, meanOutputTokens: rates.meanOutputTokens, remotePrefillTokens };
    this.#costs = new LineCosts(setting, waiters, this.#views, this.#plannedOn);
    this.#order = line.inTurn(
      waiters.map(({ claim }) => claim),
      waiters.map((_, row) => this.#costs.leastWorkMs(row)),
      nowMs,
    );
  }

  /** The next one to send; null: the rest waits. Say `sent` or `kept` before asking again. */
  next(): Turn | null {
    for (; this.#at < this.#order.length; this.#at++) {
      const row = this.#order[this.#at] ?? 0;
      if (this.#sent.has(row)) continue;
      const place = this.#costs.placeOf(row);
      if (place === null) {
        this.#keepFree(row);
        continue;
      }
      this.#meant = place;
      if (this.#profile.holds !== true || this.#costs.isSoon(place.prefillsOn)) return { waiter: row, plannedMs: this.#planned };
      this.#plan();
    }
    return null;
  }

  /** The last turn's waiter has its lease; loads of these slots have changed. `again`: plan anew from the first in turn. */
  sent(slots: readonly number[], again: boolean): void {
    this.#sent.add(this.#order[this.#at] ?? -1);
    this.#loaded(slots);
    if (!again) {
      this.#at++;
      return;
    }
    this.#at = 0;
    this.#planned.fill(0);
    this.#plannedOn.fill(0);
  }

  /** Loads of these slots have changed. */
  #loaded(slots: readonly number[]): void {
    const machines = new Set(slots.flatMap((slot) => this.#state.replica(slot)?.machine ?? []));
    const beside = this.#replicas.filter(({ slot, machine }) => machine !== undefined && machines.has(machine) && !slots.includes(slot));
    for (const slot of [...slots, ...beside.map((replica) => replica.slot)]) {
      const column = this.#replicas.findIndex((replica) => replica.slot === slot);
      const replica = this.#replicas[column];
      if (replica === undefined) continue;
      this.#views[column] = loadedView(this.#state, replica, this.#nowMs);
      for (const { holdings } of this.#waiters) followPaths(this.#state, holdings, slot, this.#nowMs);
      this.#costs.fill(column);
    }
  }

  /** Of those who are left, by row: who may go to this replica now, whom it costs least first. */
  takersOf(slot: number): number[] {
    const column = this.#replicas.findIndex((replica) => replica.slot === slot);
    return this.#costs.cheapestOn(column).filter((row) => !this.#sent.has(row));
  }

  /** V that leaves no other replica to go to. */
  onlyOn(slot: number): Float64Array {
    const planned = new Float64Array(MAX_REPLICAS).fill(Infinity);
    planned[slot] = 0;
    return planned;
  }

  /** A waiter out of its turn has its lease, on these slots. */
  sentTo(row: number, slots: readonly number[]): void {
    this.#sent.add(row);
    this.#loaded(slots);
  }

  /** The last turn's waiter stays in line: a closer look found no place for it now. */
  kept(): void {
    this.#plan();
    this.#at++;
  }

  #plan(): void {
    const { prefillsOn, workMs } = this.#meant;
    this.#setPlanned(prefillsOn, (this.#plannedOn[prefillsOn] ?? 0) + workMs);
  }

  #setPlanned(column: number, ms: number): void {
    const slot = this.#replicas[column]?.slot;
    if (slot === undefined) return;
    this.#planned[slot] = ms;
    this.#plannedOn[column] = ms;
  }

  /** Nobody behind it takes what it waits for. */
  #keepFree(row: number): void {
    const waitedMs = this.#nowMs - (this.#waiters[row]?.claim.arrivedAtMs ?? this.#nowMs);
    if (waitedMs >= PATIENCE_MS) this.#setPlanned(this.#costs.cheapestFull(row), Infinity);
  }
}
