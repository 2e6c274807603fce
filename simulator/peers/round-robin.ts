/**
 * Round robin: each replica in turn, whatever it holds and does. What Kubernetes' and most gateways' default amounts to.
 * Knows: the order of the replicas. Keeps: how many it has placed. Ties: none.
 */
import type { PeerPolicy } from "../policy.ts";

export function roundRobin(): PeerPolicy {
  let placed = 0;
  return {
    name: "round-robin",
    choose(_request, sights) {
      if (sights.length === 0) throw new RangeError("no replica to choose from");
      const index = placed % sights.length;
      placed += 1;
      return index;
    },
  };
}
