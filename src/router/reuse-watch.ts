/** What of a prompt had come by before it was placed. */
import type { Decision } from "../decision/decision.ts";
import { reuseInSight } from "../explain/funnel.ts";
import type { PoolState } from "./state.ts";
import { scheduleEnds } from "./view.ts";
import type { Trying } from "./reservation.ts";

/** For the funnel and the record. A retry does not come by again; what is only counted is computed by nobody. */
export function watchReuse(state: PoolState, { request, attempt, promptTokens }: Trying, decision: Decision): { seenTokens?: number } {
  const { ring, seen, funnels } = state;
  const { id, tenant, chain, promptBytes, counts = false } = request;
  if (counts) return {};
  const before = ring.get(id);
  const held = Math.min(
    chain.length,
    decision.candidates.reduce((most, { overlapSegments }) => Math.max(most, overlapSegments), 0),
  );
  const seenTokens = before?.seenTokens ?? seen.pass({ chain, promptBytes, promptTokens }, held, scheduleEnds(state));
  // An attempt whose end the edge never heard of has been counted.
  if (before?.outcome.ended !== "settled") funnels.placed({ id, attempt }, tenant, reuseInSight(decision, seenTokens));
  return { seenTokens };
}
