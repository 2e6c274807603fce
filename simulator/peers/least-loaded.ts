/** Least loaded: fewest requests in flight, whatever they are. Ties: at random, so that an idle fleet is filled evenly. */
import { type PeerPolicy, inFlightRequests } from "../policy.ts";
import { pickLowest } from "./pick.ts";

export function leastLoaded(): PeerPolicy {
  return {
    name: "least-loaded",
    choose: (_request, sights, draw) => pickLowest(sights.map(inFlightRequests), draw),
  };
}
