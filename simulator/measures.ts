/** What a run is measured by. Times in ms. */
import { percentile } from "../src/explain/percentile.ts";
import type { Plan } from "./plan.ts";

/** Share of requests, from the first on, that are not measured while caches fill. */
export const WARM_UP_SHARE = 0.1;
/** Both have to be kept for a request to count as good. */
const GOOD_TTFT_MS = 2_000;
const GOOD_TPOT_MS = 50;

export interface Measures {
  /** Measured requests: the plan's without those of the warm-up, and without those that came when no session began any more. */
  requests: number;
  /** Of these, so many came a second. */
  requestsPerSecond: number;
  completed: number;
  /** Told to come later, or too long for any replica. */
  refused: number;
  /** Given up by their clients. */
  cancelled: number;
  /** Attempts that were lost with a replica. */
  retried: number;
  ttftMeanMs: number;
  ttftP50Ms: number;
  ttftP99Ms: number;
  /** Sum of all time between first and last tokens, over the tokens written in it. */
  tpotMeanMs: number;
  /** 99th percentile of requests' own mean time per token, each weighted by its tokens. */
  tpotP99Ms: number;
  /** 99th percentile of the time between two tokens of a sequence; runs of steps count with their mean. Of the whole run, warm-up included. */
  gapP99Ms: number;
  e2eMeanMs: number;
  e2eP99Ms: number;
  /** Of all measured requests, those within 2 s to the first token and 50 ms per token. */
  goodShare: number;
  /** Those a second, over the time from the first measured arrival to the last one's. */
  goodPerSecond: number;
  /** Of completed requests' prompt tokens, those not computed. */
  hitShare: number;
  /** From the first arrival to the last end. */
  makespanMs: number;
  /** Most requests anywhere between their arrival and their first token. */
  mostWaiting: number;
}

const DONE = 1;
const REFUSED = 2;
const CANCELLED = 3;

/** Logarithmic bins: 1 % wide, from 0.01 ms. */
const BIN_GROWTH = Math.log(1.01);
const BINS = 2_400;

export class RunLog {
  readonly #plan: Plan;
  readonly #arrived: Float64Array;
  readonly #first: Float64Array;
  readonly #last: Float64Array;
  readonly #cached: Float64Array;
  readonly #ended: Uint8Array;
  readonly #gaps = new Float64Array(BINS);
  /** In order of arrival. */
  readonly #order: number[] = [];
  #retried = 0;
  #waiting = 0;
  #mostWaiting = 0;

  constructor(plan: Plan) {
    const count = plan.requests.length;
    this.#plan = plan;
    this.#arrived = new Float64Array(count).fill(-1);
    this.#first = new Float64Array(count).fill(-1);
    this.#last = new Float64Array(count);
    this.#cached = new Float64Array(count);
    this.#ended = new Uint8Array(count);
  }

  arrived(id: number, nowMs: number): void {
    this.#arrived[id] = nowMs;
    this.#order.push(id);
    this.#waiting++;
    this.#mostWaiting = Math.max(this.#mostWaiting, this.#waiting);
  }

  /** A later attempt's replaces an earlier one's: its client has to wait for it again. */
  firstToken(id: number, nowMs: number, cachedTokens: number): void {
    if (this.#first[id] === -1) this.#waiting--;
    this.#first[id] = nowMs;
    this.#cached[id] = cachedTokens;
  }

  finished(id: number, nowMs: number): void {
    this.#last[id] = nowMs;
    this.#ended[id] = DONE;
  }

  refused(id: number, nowMs: number): void {
    this.#end(id, nowMs, REFUSED);
  }

  cancelled(id: number, nowMs: number): void {
    this.#end(id, nowMs, CANCELLED);
  }

  /** A stream that was cut is asked for again by its client, which waits from then; one that had not begun has waited all along. */
  retried(id: number, nowMs: number, hadFirstToken: boolean): void {
    this.#retried++;
    if (hadFirstToken) this.#arrived[id] = nowMs;
  }

  gaps(count: number, ms: number): void {
    const bin = Math.min(BINS - 1, Math.max(0, Math.floor(Math.log(ms / 0.01) / BIN_GROWTH)));
    this.#gaps[bin] = (this.#gaps[bin] ?? 0) + count;
  }

  /** When the request with this place in the order of ends had ended; for rates over the middle of a run. */
  endTimes(): Float64Array {
    return this.#last.filter((_, id) => this.#ended[id] === DONE).sort();
  }

  #end(id: number, nowMs: number, how: number): void {
    if (this.#first[id] === -1) this.#waiting--;
    this.#last[id] = nowMs;
    this.#ended[id] = how;
  }

  measures(): Measures {
    const measured = this.#measured();
    const done = measured.filter((id) => this.#ended[id] === DONE);
    const ttft = Float64Array.from(done, (id) => (this.#first[id] ?? 0) - (this.#arrived[id] ?? 0)).sort();
    const e2e = Float64Array.from(done, (id) => (this.#last[id] ?? 0) - (this.#arrived[id] ?? 0)).sort();
    const firstMs = this.#arrived[measured[0] ?? 0] ?? 0;
    const spanMs = (this.#arrived[measured.at(-1) ?? 0] ?? 0) - firstMs;
    const lastMs = this.#last.reduce((most, ms) => Math.max(most, ms), 0);
    const good = done.filter((id) => this.#isGood(id)).length;
    const count = (how: number): number => measured.filter((id) => this.#ended[id] === how).length;
    return {
      requests: measured.length,
      requestsPerSecond: spanMs > 0 ? ((measured.length - 1) * 1_000) / spanMs : 0,
      completed: done.length,
      refused: count(REFUSED),
      cancelled: count(CANCELLED),
      retried: this.#retried,
      ttftMeanMs: mean(ttft),
      ttftP50Ms: percentile(ttft, 0.5),
      ttftP99Ms: percentile(ttft, 0.99),
      ...this.#perToken(done),
      gapP99Ms: this.#gapQuantile(0.99),
      e2eMeanMs: mean(e2e),
      e2eP99Ms: percentile(e2e, 0.99),
      goodShare: measured.length === 0 ? 0 : good / measured.length,
      goodPerSecond: spanMs > 0 ? (good * 1_000) / spanMs : 0,
      hitShare: this.#hitShare(done),
      makespanMs: lastMs - (this.#arrived[this.#order[0] ?? 0] ?? 0),
      mostWaiting: this.#mostWaiting,
    };
  }

  /** The load stands from the end of the warm-up to the last beginning. */
  #measured(): number[] {
    const until = this.#plan.requests.reduce((most, { at }) => Math.max(most, at ?? 0), 0);
    const standing = this.#order.filter((id) => (this.#arrived[id] ?? 0) <= until);
    return standing.slice(Math.floor(standing.length * WARM_UP_SHARE));
  }

  #gapTokens(id: number): number {
    return Math.max(0, (this.#plan.requests[id]?.outputTokens ?? 1) - 1);
  }

  #tpotMs(id: number): number {
    const tokens = this.#gapTokens(id);
    return tokens === 0 ? 0 : ((this.#last[id] ?? 0) - (this.#first[id] ?? 0)) / tokens;
  }

  #isGood(id: number): boolean {
    return (this.#first[id] ?? 0) - (this.#arrived[id] ?? 0) <= GOOD_TTFT_MS && this.#tpotMs(id) <= GOOD_TPOT_MS;
  }

  #perToken(done: readonly number[]): { tpotMeanMs: number; tpotP99Ms: number } {
    const rows = done.map((id) => ({ ms: this.#tpotMs(id), tokens: this.#gapTokens(id) })).sort((left, right) => left.ms - right.ms);
    const tokens = rows.reduce((sum, row) => sum + row.tokens, 0);
    if (tokens === 0) return { tpotMeanMs: 0, tpotP99Ms: 0 };
    const tpotMeanMs = rows.reduce((sum, row) => sum + row.ms * row.tokens, 0) / tokens;
    let below = 0;
    for (const row of rows) {
      below += row.tokens;
      if (below >= 0.99 * tokens) return { tpotMeanMs, tpotP99Ms: row.ms };
    }
    return { tpotMeanMs, tpotP99Ms: rows.at(-1)?.ms ?? 0 };
  }

  #gapQuantile(share: number): number {
    const total = this.#gaps.reduce((sum, count) => sum + count, 0);
    let below = 0;
    for (const [bin, count] of this.#gaps.entries()) {
      below += count;
      if (total > 0 && below >= share * total) return 0.01 * Math.exp((bin + 0.5) * BIN_GROWTH);
    }
    return 0;
  }

  #hitShare(done: readonly number[]): number {
    let cached = 0;
    let prompt = 0;
    for (const id of done) {
      cached += this.#cached[id] ?? 0;
      prompt += this.#plan.requests[id]?.promptTokens ?? 0;
    }
    return prompt === 0 ? 0 : cached / prompt;
  }
}

function mean(values: Float64Array): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}
