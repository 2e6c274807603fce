/** The predicted prefill queued on a replica from which on a request waits in line, where a better replica can still be chosen for it. */
import type { Capacity } from "../pool/replica.ts";
import type { Rates } from "./decision.ts";

/** Two full engine steps: one runs, one is ready when it ends. */
const STEPS = 2;
/** Prompt tokens of a step, where the replica does not say. */
const STEP_TOKENS = 8_192;
/** From a first token on the replica to the next request there takes a report, a decision and a forward. */
export const BOOKING_MS = 40;

/** The hold of a replica, ms: a request is sent while less predicted prefill, W + V, is ahead of it. A replica with an empty queue is always below. */
export function waitThresholdMs(rates: Rates, { stepTokens = STEP_TOKENS, contextTokens }: Capacity): number {
  return Math.max(BOOKING_MS, STEPS * Math.min(stepTokens, contextTokens) * rates.prefillMsPerToken);
}
