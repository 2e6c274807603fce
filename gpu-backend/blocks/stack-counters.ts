/** What a stack of tiers counts beside its tiers: for /metrics. */
export interface TierStackCounters {
  /** Blocks that were taken by `offer`. */
  offered: number;
  /** Blocks that found a queue full, once a queue. */
  dropped: number;
  /** Blocks that a tier was not given, because it had refused what comes before them. */
  orphaned: number;
  /** Blocks that contradict themselves or the card, or have a number that is not finite. */
  invalid: number;
  loadedBlocks: number;
  loadedTokens: number;
}

export function freshStackCounters(): TierStackCounters {
  return { offered: 0, dropped: 0, orphaned: 0, invalid: 0, loadedBlocks: 0, loadedTokens: 0 };
}
