/** What the pool learns by sending a request to a replica, before anything is reported of it. */
import type { Decision, ScoredCandidate } from "../decision/decision.ts";
import { type ReuseInSight, reuseInSight } from "../explain/funnel.ts";
import type { PoolState } from "./state.ts";
import { scheduleEnds } from "./view.ts";
import type { DecideRequest } from "./question.ts";
import type { Trying } from "./reservation.ts";

/** @param atOnce it did not wait in line: those from there are counted as they leave it. */
export function learnPlaced(
  { rates, sessions, line }: PoolState,
  { session = null, salt }: DecideRequest,
  chosen: ScoredCandidate,
  declinedPull: boolean,
  atOnce: boolean,
  nowMs: number,
): void {
  const { cachedTokens, deviceTokens, loadedTokens, replica, name, terms } = chosen;
  if (cachedTokens > deviceTokens && loadedTokens === 0) rates.declinedLoad(replica);
  if (declinedPull) rates.declinedTransfer(replica);
  if (session !== null) sessions.served(salt, session, name);
  if (atOnce) line.serve(salt, terms.prefillMs + terms.loadMs, nowMs);
}

interface SeenBefore {
  /** Of the prompt's tokens, those that had come by; absent: nobody computes it. */
  seenTokens?: number;
  /** Null: the funnel does not count it, or has counted it. */
  sight: ReuseInSight | null;
}

/** What had come by before, for the funnel and the record. A retry does not come by again; what is only counted is computed by nobody. */
export function watchReuse(state: PoolState, { request, promptTokens }: Trying, decision: Decision): SeenBefore {
  const { ring, seen } = state;
  const { id, chain, promptBytes, counts = false } = request;
  if (counts) return { sight: null };
  const before = ring.get(id);
  const held = Math.min(
    chain.length,
    decision.candidates.reduce((most, { overlapSegments }) => Math.max(most, overlapSegments), 0),
  );
  const seenTokens = before?.seenTokens ?? seen.pass({ chain, promptBytes, promptTokens }, held, scheduleEnds(state));
  // An attempt whose end the edge never heard of has been counted.
  return { seenTokens, sight: before?.outcome.ended === "settled" ? null : reuseInSight(decision, seenTokens) };
}
