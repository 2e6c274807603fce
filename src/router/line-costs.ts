/** Where each of the line would be cheapest: the cost table (src/decision/cost-table.ts) read for many requests, with what the plan adds to each replica. */
import { score, unscored } from "../decision/cost.ts";
import { BARRED, type CostSetting, CostTable, FULL, OPEN } from "../decision/cost-table.ts";
import type { CandidateView, RequestView } from "../decision/decision.ts";
import { hold, type Holdings } from "./view.ts";

interface Waiting {
  seen: RequestView;
  holdings: Holdings;
}

/** Columns: where a request goes, and where its prompt is computed for how long, ms. */
export interface PlannedPlace {
  column: number;
  prefillsOn: number;
  workMs: number;
}

/** A row per waiter, a column per replica. Scores are kept, and made anew for replicas whose load has changed, as a plan asks for them many times. */
export class LineCosts {
  readonly #setting: CostSetting;
  readonly #waiters: readonly Waiting[];
  readonly #views: readonly CandidateView[];
  readonly #plannedMs: Float64Array;
  readonly #table: CostTable;
  readonly #scratch = unscored();

  /** @param plannedMs V by column, which changes. `views` may be replaced in place; say `fill` then. */
  constructor(setting: CostSetting, waiters: readonly Waiting[], views: readonly CandidateView[], plannedMs: Float64Array) {
    this.#setting = setting;
    this.#waiters = waiters;
    this.#views = views;
    this.#plannedMs = plannedMs;
    const requests = waiters.map(({ seen }) => seen);
    this.#table = new CostTable(setting, requests, views, (row, { replica }) => waiters[row]?.holdings.memoryTokens[replica] ?? 0);
    for (let column = 0; column < views.length; column++) this.fill(column);
  }

  /** Null: it fits nowhere now, or one that decodes too slowly for it is worth waiting for. */
  placeOf(row: number): PlannedPlace | null {
    const table = this.#table;
    table.look(row, this.#plannedMs);
    let [column, least] = [-1, Infinity];
    for (let at = 0; at < table.costs.length; at++) {
      const cost = table.costs[at] ?? Infinity;
      if (cost < least) [column, least] = [at, cost];
    }
    if (column === -1 || table.isWorthAwaiting(row, least, this.#plannedMs)) return null;
    const via = table.via[column] ?? -1;
    return { column, prefillsOn: via < 0 ? column : via, workMs: table.workMs(row, column) };
  }

  /** Of those that are full; -1 when there is none. */
  cheapestFull(row: number): number {
    const table = this.#table;
    let [column, least] = [-1, Infinity];
    for (let at = 0; at < this.#views.length; at++) {
      const cost = table.stateOf(row, at) === FULL ? table.costAlone(row, at) + table.plannedCost(at, this.#plannedMs) : Infinity;
      if (cost < least) [column, least] = [at, cost];
    }
    return column;
  }

  /** Rows that may go to this column now, whom it costs least first. */
  cheapestOn(column: number): number[] {
    const table = this.#table;
    const rows = Array.from(this.#waiters.keys()).filter((row) => table.stateOf(row, column) === OPEN);
    return rows.sort((one, other) => table.costAlone(one, column) - table.costAlone(other, column));
  }

  /** Its own prefill where that is least; 0 where it may go nowhere. */
  leastWorkMs(row: number): number {
    let least = Infinity;
    for (let column = 0; column < this.#views.length; column++) {
      if (this.#table.stateOf(row, column) !== BARRED) least = Math.min(least, this.#table.workAlone(row, column));
    }
    return least === Infinity ? 0 : least;
  }

  /** Whether what is queued there, the plan included, is below its hold. */
  isSoon(column: number): boolean {
    return this.#table.isSoon(column, this.#plannedMs);
  }

  fill(column: number): void {
    const view = this.#views[column];
    if (view === undefined) return;
    const { profile, meanOutputTokens } = this.#setting;
    for (const [row, { seen, holdings }] of this.#waiters.entries()) {
      hold(view, holdings);
      this.#table.fill(row, column, score(view, seen, profile, meanOutputTokens, this.#scratch));
    }
  }
}
