/**
 * Sticky sessions: the replica that got the session's first request gets all of them, whatever its load; a session that is new, or whose
 * replica is gone, goes to the fewest requests in flight, ties at random, and so does a request without a session. What a gateway's session
 * affinity does. Keeps: the newest sessions, bounded.
 */
import { BoundedMap } from "../../src/bounded-map.ts";
import { type PeerPolicy, inFlightRequests } from "../policy.ts";
import { pickLowest } from "./pick.ts";

const MAX_SESSIONS = 65_536;

export function sticky(): PeerPolicy {
  /** Session → slot. */
  const slots = new BoundedMap<string, number>(MAX_SESSIONS);
  return {
    name: "sticky",
    choose(request, sights, draw) {
      const { session } = request;
      const slot = session === null ? undefined : slots.get(session);
      const stuckTo = slot === undefined ? -1 : sights.findIndex((sight) => sight.replica === slot);
      const index = stuckTo >= 0 ? stuckTo : pickLowest(sights.map(inFlightRequests), draw);
      if (session === null) return index;
      slots.set(session, sights[index]?.replica ?? -1);
      return index;
    },
  };
}
