import type { PlannedTransfer, ScoredCandidate } from "./decision.ts";

/** Predicted ms from the decision to the first token, the transfer included. */
export function firstTokenMs({ terms, predictedTtftMs }: ScoredCandidate, transfer: PlannedTransfer | null): number {
  if (transfer === null) return predictedTtftMs;
  return (transfer.kind === "prefill" ? transfer.senderMs : terms.queueMs) + transfer.receiverMs;
}
