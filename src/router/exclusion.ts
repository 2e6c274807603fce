/** Where a request is not sent because it failed there: for a while, and only in the life of the replica in which it failed. */
import { MAX_REPLICAS } from "../residency/segment-index.ts";
import { isReady, takesRequests } from "../pool/membership.ts";
import type { PoolState } from "./state.ts";
import type { AnsweredBy, DecideRequest, FailedAttempt } from "./question.ts";

/** Whatever was wrong with a replica is over by then, or the pool knows better. */
export const EXCLUDED_MS = 10_000;

/** Slots where a request does not go. */
interface Barred {
  /** They failed it, or their epoch is over. */
  excluded: number[];
  /** They fail everybody (src/pool/breaker.ts). */
  leftOut: number[];
}

/**
 * Slots of the replicas that failed it, and of those that fail everybody; never all that take requests: first those come back that fail everybody and have not
 * failed it, then those that have. One whose epoch is over by its own word is out in any case: the next epoch will say hello.
 */
export function barredFor(state: PoolState, request: DecideRequest, nowMs: number): Barred {
  const { failed = [] } = request;
  const leftOut = leftOutNow(state, nowMs);
  if (failed.length === 0 && leftOut.length === 0) return { excluded: [], leftOut };
  const excluded: number[] = [];
  const over: number[] = [];
  for (const attempt of failed) {
    const slot = slotOf(state, request, attempt, nowMs);
    if (slot === null) continue;
    excluded.push(slot);
    if (attempt.replaced === true) over.push(slot);
  }
  const leaves = (...slots: number[][]): boolean =>
    state.membership.replicas.some((replica) => takesRequests(replica) && !slots.some((out) => out.includes(replica.slot)));
  if (leaves(excluded, leftOut)) return { excluded, leftOut };
  if (leaves(excluded)) return { excluded, leftOut: [] };
  return { excluded: over, leftOut: leaves(over, leftOut) ? leftOut : [] };
}

/** Slots of the ready replicas that fail everybody, the last ready one too. */
export function leftOutNow({ membership, breaker }: PoolState, nowMs: number): number[] {
  return membership.replicas.flatMap((replica) =>
    isReady(replica) && breaker.isOut(replica.slot, replica.epoch, nowMs) ? [replica.slot] : [],
  );
}

/** Replicas whose answers came to their end, by an edge's word. */
export function noteAnswered(state: PoolState, answered: readonly AnsweredBy[]): void {
  for (const { replica: name, epoch } of answered.slice(0, MAX_REPLICAS)) {
    const replica = state.named(name);
    if (replica !== undefined) state.breaker.succeeded(replica.slot, epoch);
  }
}

/** Whether an attempt that failed says something of its replica: it runs still, takes work, and the attempt is of this life. Once an attempt. */
export function noteFailure(state: PoolState, id: string, { attempt }: Pick<FailedAttempt, "attempt">, nowMs: number): void {
  const lease = state.leases.get({ id, attempt });
  if (lease === undefined || lease.failed === true) return;
  lease.failed = true;
  const replica = state.replica(lease.replica);
  if (replica === undefined || !isReady(replica) || lease.reservedAtMs < replica.joinedAtMs) return;
  state.events.emit({ kind: "failed", slot: replica.slot, id });
  const leftOut = state.breaker.failed(replica.slot, replica.epoch, lease.reservedAtMs, nowMs);
  if (leftOut === null) return;
  state.events.emit({ kind: "leftOut", ...leftOut });
  state.leftOutNews.push(leftOut);
}

/** Whether one is ready that has not failed it, nor everybody. */
export function hasReplicaFor(state: PoolState, request: DecideRequest, nowMs: number): boolean {
  const failed = (request.failed ?? []).map((attempt) => slotOf(state, request, attempt, nowMs));
  failed.push(...leftOutNow(state, nowMs));
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
