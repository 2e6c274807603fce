/**
 * What SMG's `cache_aware` policies share (model_gateway/src/policies/cache_aware.rs, main of August 2026, 73da68c): the command line's
 * thresholds (docs/getting-started/load-balancing.md), the check of balance before anything else, and the least load when nothing else decides.
 *
 *   imbalanced: max - min > 64 and max > 1.5 * min → least load
 *   else where the prefix points; else least load
 *
 * Load is requests in flight. Least load breaks ties by how many requests the replica was given so far, then by order (issue #1714 there).
 */
import { type PeerPolicy, type ReplicaSight, type RoutedRequest, inFlightRequests } from "../policy.ts";
import { pickFirst } from "./pick.ts";

const BALANCE_ABS_REQUESTS = 64;
const BALANCE_REL = 1.5;

/** Index of the replica to which the prefix points; null: none does. `placed`: requests given so far to the replica at that index. */
type ByPrefix = (request: RoutedRequest, sights: readonly ReplicaSight[], placed: (index: number) => number) => number | null;

function isImbalanced(loads: readonly number[]): boolean {
  const most = Math.max(...loads);
  const least = Math.min(...loads);
  return most - least > BALANCE_ABS_REQUESTS && most > BALANCE_REL * least;
}

export function prefixWhileBalanced(name: string, byPrefix: ByPrefix): PeerPolicy {
  // One number a slot; slots are few and used again.
  const placedBySlot = new Map<number, number>();
  return {
    name,
    choose(request, sights) {
      const placed = (index: number): number => placedBySlot.get(sights[index]?.replica ?? -1) ?? 0;
      const loads = sights.map(inFlightRequests);
      const warm = isImbalanced(loads) ? null : byPrefix(request, sights, placed);
      const index = warm ?? pickFirst(loads.map((load, at) => [load, placed(at)]));
      placedBySlot.set(sights[index]?.replica ?? -1, placed(index) + 1);
      return index;
    },
  };
}
