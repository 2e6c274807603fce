/** Replicas that could take a request now, and soon start it. */
import { placesOf } from "../pool/capacity.ts";
import { takesRequests } from "../pool/membership.ts";
import type { Replica } from "../pool/replica.ts";
import type { PlannedTransfer, ScoredCandidate } from "../decision/decision.ts";
import { holdMs } from "../decision/hold.ts";
import type { PoolState } from "./state.ts";

interface Room {
  slot: number;
  /** Nothing runs there. */
  isIdle: boolean;
}

/** Those that take requests, have a place free and less queued than their hold. */
export function roomsOf({ membership, leases, rates }: PoolState): Room[] {
  return membership.replicas.flatMap((replica): Room[] => {
    const { slot, capacity } = replica;
    if (!takesRequests(replica)) return [];
    const { inFlight, queuedPrefillMs } = leases.load(slot);
    const isSoon = queuedPrefillMs < holdMs(rates.of(slot), capacity);
    return inFlight < placesOf(capacity) && isSoon ? [{ slot, isIdle: inFlight === 0 }] : [];
  });
}

/** Whether more is queued than its hold allows, where the prompt of who goes to `replica` would be computed. What is overdue there holds nobody back (view.ts). */
export function isHeld(
  state: PoolState,
  replica: Replica,
  { terms }: Pick<ScoredCandidate, "terms">,
  transfer: PlannedTransfer | null,
  nowMs: number,
): boolean {
  const elsewhere = transfer?.kind === "prefill" ? state.replica(transfer.replica) : undefined;
  const { slot, capacity } = elsewhere ?? replica;
  const ahead = elsewhere === undefined || transfer === null ? terms.queueMs : transfer.senderMs - transfer.senderWorkMs;
  return ahead - state.leases.prefills.overdueMs(slot, nowMs) >= holdMs(state.rates.of(slot), capacity);
}
