/** Whether the chosen replica gets KV blocks from another one: prefilled there for it, or held there already. Pure, like the decision it belongs to. */
import type { CandidateView, PlannedTransfer, PoolView, RequestView, ScoredCandidate } from "./decision.ts";
import { isFull } from "./full.ts";

/** A pull of fewer tokens is not worth a connection. */
export const LEAST_PULLED_TOKENS = 256;
/** A prefill replica that lacks what the chosen one holds would compute it again: at most so many times what the chosen one would. */
const MOST_EXTRA_WORK = 2;

interface Receiver {
  view: CandidateView;
  scored: ScoredCandidate;
}

/**
 * A pull when another replica holds at least 256 tokens more and sending is quicker than computing; a remote prefill when what is missing then is
 * still at least `remotePrefillTokens` and a prefill replica has room. Null: it does everything itself.
 *
 * @param scored as many as the view's candidates, in their order.
 * @param chosen index of the replica that takes the request.
 */
export function planTransfer(
  view: PoolView,
  request: RequestView,
  scored: readonly ScoredCandidate[],
  chosen: number,
): PlannedTransfer | null {
  const candidate = view.candidates[chosen];
  const own = scored[chosen];
  if (candidate === undefined || own === undefined || !candidate.transfers) return null;
  const receiver = { view: candidate, scored: own };
  const pull = bestPull(view, request, receiver);
  const missingTokens = pull === null ? own.uncachedTokens : request.promptTokens - candidate.cachedTokens - pull.tokens;
  if (view.remotePrefillTokens === null || missingTokens < view.remotePrefillTokens) return pull;
  return bestPrefill(view, request, scored, receiver) ?? pull;
}

/** From whoever holds the most; of equals the one with the least queue. */
function bestPull(view: PoolView, request: RequestView, receiver: Receiver): PlannedTransfer | null {
  const { cachedTokens, rates } = receiver.view;
  if (rates.transferMsPerToken >= rates.prefillMsPerToken) return null;
  let best: CandidateView | null = null;
  for (const sender of view.candidates) {
    if (!maySend(sender, request, receiver) || sender.memoryTokens <= cachedTokens + LEAST_PULLED_TOKENS) continue;
    const more = best === null ? 1 : sender.memoryTokens - best.memoryTokens;
    if (more > 0 || (more === 0 && best !== null && sender.queuedPrefillMs < best.queuedPrefillMs)) best = sender;
  }
  if (best === null) return null;
  const tokens = best.memoryTokens - cachedTokens;
  const transferMs = tokens * rates.transferMsPerToken;
  const insteadOfMs = tokens * rates.prefillMsPerToken;
  const receiverMs = Math.max(0, workOf(receiver.scored) - insteadOfMs) + transferMs;
  const { replica, name } = best;
  return { kind: "pull", replica, name, tokens, transferMs, senderMs: 0, senderWorkMs: 0, senderNewTokens: 0, insteadOfMs, receiverMs };
}

/** Where it would be done first; of equals where less is in flight. */
function bestPrefill(view: PoolView, request: RequestView, scored: readonly ScoredCandidate[], receiver: Receiver): PlannedTransfer | null {
  const insteadOfMs = workOf(receiver.scored);
  let best: ScoredCandidate | null = null;
  for (const [index, sender] of view.candidates.entries()) {
    const there = scored[index];
    if (there === undefined || !sender.prefills || !maySend(sender, request, receiver)) continue;
    if (isFull(sender, there.uncachedTokens + there.loadedTokens, view.meanOutputTokens)) continue;
    // In tokens: learnt rates of replicas that have done little are too noisy for this.
    if (there.uncachedTokens > MOST_EXTRA_WORK * receiver.scored.uncachedTokens) continue;
    const later = best === null ? -1 : there.predictedTtftMs - best.predictedTtftMs;
    if (later < 0 || (later === 0 && best !== null && there.terms.inFlight < best.terms.inFlight)) best = there;
  }
  if (best === null) return null;
  const tokens = receiver.scored.uncachedTokens;
  const transferMs = tokens * receiver.view.rates.transferMsPerToken;
  const receiverMs = transferMs + receiver.scored.terms.loadMs;
  const { replica, name, predictedTtftMs: senderMs, uncachedTokens, loadedTokens } = best;
  const sending = { senderMs, senderWorkMs: workOf(best), senderNewTokens: uncachedTokens + loadedTokens };
  return { kind: "prefill", replica, name, tokens, transferMs, ...sending, insteadOfMs, receiverMs };
}

function maySend(sender: CandidateView, request: RequestView, receiver: Receiver): boolean {
  return (
    sender.replica !== receiver.view.replica &&
    sender.transfers &&
    (sender.eligible || sender.prefills) &&
    !request.excluded.includes(sender.replica)
  );
}

function workOf({ terms }: ScoredCandidate): number {
  return terms.prefillMs + terms.loadMs;
}
