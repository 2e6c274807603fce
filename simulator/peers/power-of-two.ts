/**
 * Power of two choices: two different replicas are drawn, the one with fewer requests in flight is taken. Ties: the first one drawn.
 * SMG `power_of_two` (model_gateway/src/policies/power_of_two.rs, August 2026) draws and breaks ties so; its load is requests in flight
 * unless engines report their KV use.
 */
import { type PeerPolicy, inFlightRequests } from "../policy.ts";
import { drawBelow } from "./pick.ts";

export function powerOfTwo(): PeerPolicy {
  return {
    name: "power-of-two",
    choose(_request, sights, draw) {
      if (sights.length === 0) throw new RangeError("no replica to choose from");
      const first = drawBelow(sights.length, draw);
      if (sights.length === 1) return first;
      // An offset of 1 … n-1 is never the first one again.
      const second = (first + 1 + drawBelow(sights.length - 1, draw)) % sights.length;
      const [one, other] = [sights[first], sights[second]];
      if (one === undefined || other === undefined) return first;
      return inFlightRequests(one) <= inFlightRequests(other) ? first : second;
    },
  };
}
