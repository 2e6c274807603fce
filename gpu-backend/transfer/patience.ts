/**
 * How long a receiver waits for a transfer: as long as it is worth, by what computing the same tokens here is believed to take, and longer while the transfer shows that it
 * goes on. Pure: times are the caller's, in ms.
 *
 *   prefill elsewhere: LEAST + 3 × prediction; a word of progress moves the end to LEAST + 3 × what the rest takes at the pace shown so far. A pulse without progress moves
 *     nothing. At most LEAST + 6 × prediction, so that progress that is only claimed costs no more than a few times what computing here would have. Where nothing was ever
 *     measured here the prediction is no more than a guess: the first word of progress has at least FIRST_WORD (an engine says one every few hundred tokens), and the most is UNMEASURED.
 *   pull: as long as recomputing takes (at least FLOOR); every block moves the end to what recomputing the blocks still missing takes. At most twice that.
 */
export interface Expectation {
  /** What computing one token here is believed to take. */
  msPerToken: number;
  /** Whether that was ever measured here: otherwise a guess, or what replicas that computed for this one made of it. */
  measured: boolean;
}

interface PatienceOptions extends Expectation {
  kind: "prefill" | "pull";
  /** Tokens that are asked for. */
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

export class Patience {
  readonly #options: PatienceOptions;
  readonly #mostMs: number;
  #endMs: number;
  #done = 0;

  constructor(options: PatienceOptions) {
    this.#options = options;
    const { kind, tokens, msPerToken, measured, nowMs } = options;
    const predictedMs = tokens * msPerToken;
    if (kind === "pull") {
      const firstMs = measured
        ? Math.max(PULL_FLOOR_MS, predictedMs)
        : Math.min(UNMEASURED_MS / 2, Math.max(PULL_UNMEASURED_MS, predictedMs));
      this.#endMs = nowMs + firstMs;
      this.#mostMs = nowMs + 2 * firstMs;
    } else {
      const firstMs = MIN_MS + FACTOR * predictedMs;
      this.#endMs = nowMs + (measured ? firstMs : Math.min(UNMEASURED_MS, Math.max(FIRST_WORD_MS, firstMs)));
      this.#mostMs = Math.max(this.#endMs, nowMs + (measured ? MIN_MS + MAX_FACTOR * predictedMs : UNMEASURED_MS));
    }
  }

  /** When the receiver gives up. */
  get endMs(): number {
    return this.#endMs;
  }

  /** So many of the tokens asked for are computed or have come; only more than before counts. */
  progressed(doneTokens: number, atMs: number): void {
    const { kind, tokens, msPerToken, nowMs } = this.#options;
    if (doneTokens <= this.#done) return;
    this.#done = doneTokens;
    const left = Math.max(0, tokens - doneTokens);
    const pace = Math.max(msPerToken, (atMs - nowMs) / doneTokens);
    const wait = kind === "pull" ? Math.max(PULL_FLOOR_MS, left * msPerToken) : MIN_MS + FACTOR * pace * left;
    this.#endMs = Math.min(this.#mostMs, Math.max(this.#endMs, atMs + wait));
  }
}
