/**
 * What a token of a prompt takes to compute, as learnt: here, by this replica's own engine, and elsewhere, by replicas that computed for this one. Bounded by what they can only
 * claim: a sender says itself how much of a prompt it had cached, and by being slow it could make its receivers ever more patient.
 */
import type { Expectation } from "./transfer/transfer-deadline.ts";

/** Share of the past that a new measurement leaves. */
const KEEP = 0.8;
const FIRST_MS_PER_TOKEN = 0.1;
/** A prefill elsewhere counts as at most this many times slower than here: waiting longer is not worth it. */
const MAX_ELSEWHERE = 2;
/** A prefill elsewhere that computed less than this share of its prompt measures fetching, not computing. */
const MIN_COMPUTED = 0.5;

/** Of one prompt, when its first token is here. */
export interface PrefillTimes {
  computedTokens: number;
  /** From its start, the restore behind it, to the first token. */
  elapsedMs: number;
  /** Before that: putting blocks that came from elsewhere in place. */
  restoreMs: number;
}

export class PrefillPace {
  readonly #leastTokens: number;
  #here: number | null = null;
  #elsewhere: number | null = null;

  /** `leastTokens`: a report of fewer tokens says nothing about the cost of one. */
  constructor(leastTokens: number) {
    this.#leastTokens = leastTokens;
  }

  /** Of this replica's engine, ms. */
  get msPerToken(): number {
    return this.#here ?? FIRST_MS_PER_TOKEN;
  }

  /** What computing a prompt here is believed to take. */
  get expectation(): Expectation {
    const elsewhere = this.#elsewhere ?? 0;
    if (this.#here === null) return { msPerToken: Math.max(FIRST_MS_PER_TOKEN, elsewhere), measured: false };
    return { msPerToken: Math.max(this.#here, Math.min(elsewhere, MAX_ELSEWHERE * this.#here)), measured: true };
  }

  learnHere(computedTokens: number, elapsedMs: number): void {
    if (computedTokens < this.#leastTokens || !(elapsedMs > 0)) return;
    this.#here = learnt(this.#here, elapsedMs / computedTokens);
  }

  /** `askedTokens` were fetched, of which the sender says that it computed so many. */
  learnElsewhere({ askedTokens, computedTokens }: { askedTokens: number; computedTokens: number }, elapsedMs: number): void {
    if (computedTokens < Math.max(this.#leastTokens, MIN_COMPUTED * askedTokens)) return;
    this.#elsewhere = learnt(this.#elsewhere, elapsedMs / computedTokens);
  }
}

function learnt(before: number | null, sample: number): number {
  return before === null ? sample : KEEP * before + (1 - KEEP) * sample;
}
