/** Where a request is not sent because it failed there: for a while, and only in the life of the replica in which it failed. */
import { takesRequests } from "../pool/membership.ts";
import type { PoolState } from "./state.ts";
import type { DecideRequest, FailedAttempt } from "./question.ts";

/** Whatever was wrong with a replica is over by then, or the pool knows better. */
export const EXCLUDED_MS = 10_000;

/** Slots of the replicas that failed it, unless no other takes requests. One whose epoch is over by its own word is out in any case: the next epoch will say hello. */
export function excludedFor(state: PoolState, request: DecideRequest, nowMs: number): number[] {
  const { failed = [] } = request;
  if (failed.length === 0) return [];
  const excluded: number[] = [];
  const over: number[] = [];
  for (const attempt of failed) {
    const slot = slotOf(state, request, attempt, nowMs);
    if (slot === null) continue;
    excluded.push(slot);
    if (attempt.replaced === true) over.push(slot);
  }
  const another = state.membership.replicas.some((replica) => takesRequests(replica) && !excluded.includes(replica.slot));
  return another ? excluded : over;
}

/** Whether one is ready that has not failed it. */
export function hasReplicaFor(state: PoolState, request: DecideRequest, nowMs: number): boolean {
  const failed = (request.failed ?? []).map((attempt) => slotOf(state, request, attempt, nowMs));
  return state.membership.replicas.some((replica) => takesRequests(replica) && !failed.includes(replica.slot));
}

/** Null: it is excluded no longer. Of an attempt that the pool has no memory of, the request's coming is when it failed. */
function slotOf(
  state: PoolState,
  { id, arrivedAtMs }: DecideRequest,
  { replica: name, attempt, epoch }: FailedAttempt,
  nowMs: number,
): number | null {
  const replica = state.named(name);
  if (replica === undefined) return null;
  const lease = state.leases.get({ id, attempt });
  const sentAtMs = lease?.reservedAtMs ?? arrivedAtMs;
  const isAnother = epoch === undefined ? sentAtMs < replica.joinedAtMs : epoch !== replica.epoch;
  if (isAnother || nowMs - (lease?.endedAtMs ?? arrivedAtMs) >= EXCLUDED_MS) return null;
  return replica.slot;
}
