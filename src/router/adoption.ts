/** A replica comes back with requests that it runs, to a pool that may have lost its memory meanwhile. */
import { placesOf } from "../pool/capacity.ts";
import type { LeaseKey } from "../pool/lease.ts";
import type { PoolState } from "./state.ts";

/**
 * What this pool no longer knows is taken on again, as many as the replica has places for. What the pool has ended, what is another
 * replica's, and what is beyond these places is returned, to be cancelled.
 */
export function adopt(state: PoolState, slot: number, running: readonly LeaseKey[], nowMs: number): LeaseKey[] {
  const { leases } = state;
  const replica = state.replica(slot);
  const places = replica === undefined ? 0 : placesOf(replica.capacity);
  return leases.reconcile(slot, running, nowMs).unknown.filter((key) => {
    if (leases.count(slot) >= places) return true;
    // Its first token may have been reported before: nobody waits to hear of it.
    const adopted = { ...key, replica: slot, nowMs, promptTokens: 0, uncachedTokens: 0, predictedMs: 0, salt: "", awaits: true };
    if (leases.reserve(adopted).kind !== "reserved") return true;
    leases.started(key, nowMs);
    return false;
  });
}
