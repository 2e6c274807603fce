/** What a turn would have waited for its first token, had nothing of its prompt been cached. */

/** Of each candidate in `GET /v1/decisions/{id}`, what is needed here. */
export interface Candidate {
  name: string;
  cachedTokens: number;
  /** What it would compute. */
  uncachedTokens: number;
  predictedTtftMs: number;
  terms: { prefillMs: number };
  barred: string | null;
}

/**
 * By the pool's own predictions, ms: the least of those replicas that could have taken the request and held nothing of it. Where each held
 * something, the chosen one's, with its prefill grown in proportion to what it would have computed; that leaves out that attention costs
 * more per token the longer the prompt is, so it is a little low. Null where the chosen replica is not among them.
 */
export function coldMs(candidates: readonly Candidate[], chosen: number | null): number | null {
  const cold = candidates.filter(({ barred, cachedTokens }) => barred === null && cachedTokens === 0);
  if (cold.length > 0) return Math.min(...cold.map(({ predictedTtftMs }) => predictedTtftMs));
  const own = candidates[chosen ?? -1];
  if (own === undefined || own.uncachedTokens === 0) return null;
  return own.predictedTtftMs + (own.terms.prefillMs * own.cachedTokens) / own.uncachedTokens;
}
