/** A request as decisions see it. */
import type { RequestView } from "../decision/decision.ts";
import { barredFor } from "./exclusion.ts";
import type { PoolState } from "./state.ts";
import type { DecideRequest } from "./question.ts";

/** Whoever has waited so long and fits nowhere has its replica kept free: what runs there ends, and an idle one is never full. Nor is it choosy any longer. */
export const PATIENCE_MS = 10_000;

/**
 * By its bytes it is longer than any replica's context: a replica, which counts its tokens, will say so. Its client must not wait in line for that, and
 * get headers before the refusal.
 */
export function isProbablyTooLong({ rates, longestContextTokens }: PoolState, { promptBytes }: DecideRequest): boolean {
  return rates.mostPromptTokens(promptBytes) > longestContextTokens;
}

export function requestView(state: PoolState, request: DecideRequest, nowMs: number): RequestView {
  const { rates, sessions } = state;
  const { promptBytes, chain, counts = false, session = null, salt, tpotMs, arrivedAtMs } = request;
  const last = session === null ? undefined : sessions.last(salt, session);
  const stickyTo = last === undefined ? undefined : state.named(last)?.slot;
  const { excluded, leftOut } = barredFor(state, request, nowMs);
  return {
    // What is longer is refused by its replica, and soon: nobody waits for it to be computed.
    promptTokens: Math.min(rates.promptTokens(promptBytes), state.longestContextTokens),
    promptBytes,
    segments: chain.length,
    excluded,
    ...(leftOut.length > 0 ? { leftOut } : {}),
    ...(counts ? { counts } : {}),
    ...(tpotMs !== undefined && nowMs - arrivedAtMs < PATIENCE_MS ? { tpotMs } : {}),
    ...(stickyTo === undefined ? {} : { stickyTo }),
  };
}
