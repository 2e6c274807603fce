/**
 * LMetric (arXiv:2603.15202) in the form of Dynamo PR #11028 (`--router-selection-policy lmetric`):
 *
 *   cost = adjusted prefill blocks * (decode blocks + 1)
 *
 * Both as in dynamo-linear.ts: the prefills in flight are in the first factor, this request's own blocks in the second. Lowest cost, ties at
 * random.
 */
import type { PeerPolicy } from "../policy.ts";
import { adjustedPrefillBlocks, potentialDecodeBlocks } from "./dynamo-linear.ts";
import { pickLowest } from "./pick.ts";

export function lmetricDynamo(): PeerPolicy {
  return {
    name: "lmetric-dynamo",
    choose: (request, sights, draw) =>
      pickLowest(
        sights.map((sight) => adjustedPrefillBlocks(request, sight) * (potentialDecodeBlocks(request, sight) + 1)),
        draw,
      ),
  };
}
