/** What a transfer that the cost table chose moves, and how long its parts take: for the lease, the reason and the record. */
import { computeMs } from "./cost.ts";
import type { CandidateView, PlannedTransfer, ScoredCandidate } from "./decision.ts";

/** The chosen replica pulls what `holder` has beyond its own. */
export function plannedPull(view: CandidateView, scored: ScoredCandidate, holder: CandidateView): PlannedTransfer {
  const { replica, name, memoryTokens } = holder;
  const tokens = memoryTokens - scored.cachedTokens;
  const transferMs = tokens * view.rates.transferMsPerToken;
  const insteadOfMs = computeMs(view.rates, scored.cachedTokens, tokens);
  const sending = { senderMs: 0, senderWorkMs: 0, senderNewTokens: 0, senderCachedTokens: 0 };
  const receiverMs = Math.max(0, workOf(scored) - insteadOfMs) + transferMs;
  return { kind: "pull", replica, name, tokens, transferMs, ...sending, insteadOfMs, receiverMs };
}

/** Another replica computes the prompt first: `there` is the request's score on it. */
export function plannedPrefill(view: CandidateView, scored: ScoredCandidate, there: ScoredCandidate): PlannedTransfer {
  const { replica, name, terms, uncachedTokens, loadedTokens, deviceTokens } = there;
  const tokens = scored.uncachedTokens;
  const transferMs = tokens * view.rates.transferMsPerToken;
  const senderWorkMs = workOf(there);
  const sending = {
    senderMs: terms.queueMs + senderWorkMs,
    senderWorkMs,
    senderNewTokens: uncachedTokens + loadedTokens,
    senderCachedTokens: deviceTokens + loadedTokens,
  };
  const receiverMs = transferMs + scored.terms.loadMs;
  return { kind: "prefill", replica, name, tokens, transferMs, ...sending, insteadOfMs: workOf(scored), receiverMs };
}

function workOf({ terms }: ScoredCandidate): number {
  return terms.prefillMs + terms.loadMs;
}
