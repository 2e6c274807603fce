/** Replicas that can take a request now and start it soon. */
import { placesOf } from "../pool/capacity.ts";
import { takesRequests } from "../pool/membership.ts";
import type { Replica } from "../pool/replica.ts";
import type { PlannedTransfer, ScoredCandidate } from "../decision/decision.ts";
import { waitThresholdMs } from "../decision/wait-threshold.ts";
import type { PoolState } from "./state.ts";

interface FreeReplica {
  slot: number;
  /** Nothing runs there. */
  isIdle: boolean;
}

/** Replicas that take requests, have a free place, and have less prefill queued than their hold. */
export function freeReplicas({ membership, leases, rates }: PoolState): FreeReplica[] {
  return membership.replicas.flatMap((replica): FreeReplica[] => {
    const { slot, capacity } = replica;
    if (!takesRequests(replica)) return [];
    const { inFlight, queuedPrefillMs } = leases.load(slot);
    const isSoon = queuedPrefillMs < waitThresholdMs(rates.of(slot), capacity);
    return inFlight < placesOf(capacity) && isSoon ? [{ slot, isIdle: inFlight === 0 }] : [];
  });
}

/** Whether a request for `replica` should wait in line: the replica that would compute its prompt has more queued than its hold. Overdue prefill is not counted (view.ts). */
export function shouldWait(
  state: PoolState,
  replica: Replica,
  { terms }: Pick<ScoredCandidate, "terms">,
  transfer: PlannedTransfer | null,
  nowMs: number,
): boolean {
  const elsewhere = transfer?.kind === "prefill" ? state.replica(transfer.replica) : undefined;
  const { slot, capacity } = elsewhere ?? replica;
  const ahead = elsewhere === undefined || transfer === null ? terms.queueMs : transfer.senderMs - transfer.senderWorkMs;
  return ahead - state.leases.prefills.overdueMs(slot, nowMs) >= waitThresholdMs(state.rates.of(slot), capacity);
}
