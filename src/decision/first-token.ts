import type { PlannedTransfer, ScoredCandidate } from "./decision.ts";

/** What queue, prefill and transfer add up to, ms. */
export function workUntilFirstToken({ terms, workMs }: ScoredCandidate, transfer: PlannedTransfer | null): number {
  if (transfer === null) return workMs;
  return (transfer.kind === "prefill" ? transfer.senderMs : terms.queueMs) + transfer.receiverMs;
}

/** Predicted ms from the decision to the first token, the transfer included: as that work usually turns out. */
export function firstTokenMs(candidate: ScoredCandidate, transfer: PlannedTransfer | null): number {
  const { predictedTtftMs, ttftStretch, workMs } = candidate;
  return predictedTtftMs + ttftStretch * (workUntilFirstToken(candidate, transfer) - workMs);
}
