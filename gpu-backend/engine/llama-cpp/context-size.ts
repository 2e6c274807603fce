/** The context length when no setting names it. */

/** A context of fewer tokens is of no use. */
export const MIN_CONTEXT = 512;
/** As many as WARMPATH_CONTEXT_TOKENS takes. */
const MAX_CONTEXT = 131_072;
/** A length that memory bounds is a multiple of this many tokens. */
const STEP = 256;

interface ContextBounds {
  /** What the model was made for; Infinity: its file does not say. */
  trainedTokens: number;
  sequences: number;
  /** NaN: its file does not say. */
  kvBytesPerToken: number;
  /** What the KV of all sequences may take. */
  kvBytes: number;
}

/** Tokens of one sequence: what the model was made for, or the most that fits. Null: not even the least fits. */
export function contextFor({ trainedTokens, sequences, kvBytesPerToken, kvBytes }: ContextBounds): number | null {
  const most = Math.min(trainedTokens, MAX_CONTEXT);
  if (Number.isNaN(kvBytesPerToken)) return Math.min(most, 8_192);
  const fitting = Math.floor(kvBytes / (sequences * kvBytesPerToken) / STEP) * STEP;
  if (most <= fitting) return most;
  return fitting < MIN_CONTEXT ? null : fitting;
}
