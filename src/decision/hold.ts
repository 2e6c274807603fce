/** How much may be queued on a replica before a request rather waits in the pool's line, where a better place can still be found for it. */
import type { Capacity } from "../pool/replica.ts";
import type { Rates } from "./decision.ts";

/** Two full engine steps: one runs, one is ready when it ends. */
const STEPS = 2;
/** Prompt tokens of a step, where the replica does not say. */
const STEP_TOKENS = 8_192;
/** From a first token on the replica to the next request there takes a report, a decision and a forward. */
export const BOOKING_MS = 40;

/** ms of predicted prefill ahead of it, W + V, below which a request is sent. A replica with nothing queued is always below it. */
export function holdMs(rates: Rates, { stepTokens = STEP_TOKENS, contextTokens }: Capacity): number {
  return Math.max(BOOKING_MS, STEPS * Math.min(stepTokens, contextTokens) * rates.prefillMsPerToken);
}
