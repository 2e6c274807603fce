/**
 * When a receiver gives up a transfer. The wait follows what computing the same tokens here is predicted to take, and grows while
 * the transfer makes progress. Pure: the caller gives the times, in ms.
 *
 *   Prefill elsewhere: MIN + 3 × prediction. Progress moves the end to MIN + 3 × what the rest takes at the pace so far; a pulse
 *     without progress does not. The latest end is MIN + 6 × prediction, so that false progress costs at most a few times what
 *     computing here would. Without a measurement here the prediction is a guess: the first progress then has at least FIRST_WORD
 *     (an engine reports each few hundred tokens), and the latest end is UNMEASURED.
 *   Pull: as long as recomputing takes, at least FLOOR. Each block moves the end to what recomputing the missing blocks takes.
 *     The latest end is twice the first.
 */
export interface Expectation {
  /** Predicted time to compute one token here, ms. */
  msPerToken: number;
  /** Whether this replica measured it. Otherwise it is a guess, or the pace of replicas that prefilled for this one. */
  measured: boolean;
}

interface TransferDeadlineOptions extends Expectation {
  kind: "prefill" | "pull";
  /** Tokens asked for. */
  tokens: number;
  nowMs: number;
}

const MIN_MS = 2_000;
const FACTOR = 3;
const MAX_FACTOR = 6;
const UNMEASURED_MS = 120_000;
const FIRST_WORD_MS = 10_000;
const PULL_FLOOR_MS = 500;
/** A first pull, before anything was measured here. */
const PULL_UNMEASURED_MS = 2_000;

export class TransferDeadline {
  readonly #options: TransferDeadlineOptions;
  readonly #latestMs: number;
  #endMs: number;
  #done = 0;

  constructor(options: TransferDeadlineOptions) {
    this.#options = options;
    const { kind, tokens, msPerToken, measured, nowMs } = options;
    const predictedMs = tokens * msPerToken;
    if (kind === "pull") {
      const firstMs = measured
        ? Math.max(PULL_FLOOR_MS, predictedMs)
        : Math.min(UNMEASURED_MS / 2, Math.max(PULL_UNMEASURED_MS, predictedMs));
      this.#endMs = nowMs + firstMs;
      this.#latestMs = nowMs + 2 * firstMs;
    } else {
      const firstMs = MIN_MS + FACTOR * predictedMs;
      this.#endMs = nowMs + (measured ? firstMs : Math.min(UNMEASURED_MS, Math.max(FIRST_WORD_MS, firstMs)));
      this.#latestMs = Math.max(this.#endMs, nowMs + (measured ? MIN_MS + MAX_FACTOR * predictedMs : UNMEASURED_MS));
    }
  }

  /** When the receiver gives up. */
  get endMs(): number {
    return this.#endMs;
  }

  /** `doneTokens` of the tokens asked for are computed or have come. A number that did not grow changes nothing. */
  progressed(doneTokens: number, atMs: number): void {
    const { kind, tokens, msPerToken, nowMs } = this.#options;
    if (doneTokens <= this.#done) return;
    this.#done = doneTokens;
    const left = Math.max(0, tokens - doneTokens);
    const pace = Math.max(msPerToken, (atMs - nowMs) / doneTokens);
    const wait = kind === "pull" ? Math.max(PULL_FLOOR_MS, left * msPerToken) : MIN_MS + FACTOR * pace * left;
    this.#endMs = Math.min(this.#latestMs, Math.max(this.#endMs, atMs + wait));
  }
}
