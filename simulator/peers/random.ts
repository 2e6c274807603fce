/** Random: any replica, each as likely. Knows and keeps nothing. */
import type { PeerPolicy } from "../policy.ts";
import { drawBelow } from "./pick.ts";

export function random(): PeerPolicy {
  return {
    name: "random",
    choose(_request, sights, draw) {
      if (sights.length === 0) throw new RangeError("no replica to choose from");
      return drawBelow(sights.length, draw);
    },
  };
}
