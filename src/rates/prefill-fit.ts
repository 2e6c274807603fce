/** How the time of a prefill is fitted (shared-fit.ts): B*u + Q*u*(h + u/2) + what every prefill takes, for u tokens behind h others. */
import type { FitShape } from "./least-squares.ts";
import type { Work } from "./concurrent-prefills.ts";

/**
 * A token of context costs at most this share of a computed token. In a transformer of width d that share is 4d / 24d² = 1 / (6d): what attention and
 * what all else takes of a layer's operations. Without a bound short prompts, whose times say nothing of attention, would be extrapolated by it.
 */
const MOST_ATTENTION = 1 / 128;

/**
 * The terms are tokens without attention, tokens with the most attention, and a constant, so that no mix of them has more attention than that. Where
 * all reports look alike any of the three explains them; then the constant is taken to be worth 32 tokens.
 */
export const PREFILL: FitShape = { size: 3, sparse: [1], fixedUnits: 32 };

export function prefillFeatures({ tokens, pairs }: Work): [number, number, number] {
  return [tokens, tokens + MOST_ATTENTION * pairs, 1];
}

interface PrefillRates {
  /** B, ms. */
  perToken: number;
  /** Q, ms per computed token and token before it. */
  perPair: number;
  /** ms that every prefill takes. */
  fixedMs: number;
}

export function prefillRates([plain = 0, attending = 0, fixedMs = 0]: ArrayLike<number> & Iterable<number>): PrefillRates {
  return { perToken: plain + attending, perPair: MOST_ATTENTION * attending, fixedMs };
}

/** What to believe where nothing was reported. */
export function coldPrefill(msPerToken: number): readonly number[] {
  return [msPerToken, 0, NaN];
}
