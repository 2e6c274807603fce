/** What reports of replicas come down to before rates are learnt from them. */

/** A prefill that ended. */
export interface PrefillReport {
  uncachedTokens: number;
  /** What lay before them. */
  cachedTokens: number;
  /** Spent computing: from its start to the first token, loads and transfer not counted. */
  prefillMs: number;
  /** Pool clock. */
  endedAtMs: number;
  /** Others that had started there and had no first token yet. */
  untold: number;
}

/** A decode that ended, and what ran beside it: means over its time. */
export interface DecodeReport {
  outputTokens: number;
  /** From the first token to the last. */
  decodeMs: number;
  sequences: number;
  contextTokens: number;
  /** Predicted time of the prefills that its replica did meanwhile. */
  prefilledMs: number;
}
