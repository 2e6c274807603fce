/**
 * AIBrix `prefix-cache`. Load is requests in flight, as its gateway counts them.
 *
 *   max - min > 8                                            → least requests
 *   else, in order of the match in whole percent, then fewer requests: the first with at most mean + 1 sigma
 *   none matches, or none of them is that idle               → least requests
 *
 * The rule, and what it leaves open, as in vllm-project/aibrix pkg/plugins/gateway/algorithms/prefix_cache.go (01de8a5):
 * only replicas that hold something are in the order; sigma is of the sample (n - 1), over all replicas; equals are drawn at random (it
 * shuffles first), as are ties of the least requests. That version has another first line: with max > 2 * (mean + 1) and max - min >= 8 it goes
 * on with the least loaded alone.
 */
import { type PeerPolicy, inFlightRequests } from "../policy.ts";
import { heldTokens } from "./overlap.ts";
import { pickFirst, pickLowest } from "./pick.ts";

const IMBALANCE_REQUESTS = 8;
const SIGMAS = 1;

export function aibrix(): PeerPolicy {
  return {
    name: "aibrix",
    choose(request, sights, draw) {
      const loads = sights.map(inFlightRequests);
      if (Math.max(...loads) - Math.min(...loads) > IMBALANCE_REQUESTS) return pickLowest(loads, draw);
      const limit = mean(loads) + SIGMAS * sampleDeviation(loads);
      const matched = sights.flatMap((sight, index) => {
        const held = heldTokens(request, sight);
        const load = loads[index] ?? 0;
        return held > 0 && load <= limit ? [{ index, percent: Math.floor((100 * held) / request.promptTokens), load }] : [];
      });
      if (matched.length === 0) return pickLowest(loads, draw);
      const first = matched[pickFirst(matched.map(({ percent, load }) => [-percent, load]))];
      const equals = matched.filter(({ percent, load }) => percent === first?.percent && load === first.load);
      const among = pickLowest(
        equals.map(() => 0),
        draw,
      );
      return equals[among]?.index ?? 0;
    },
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** 0 for one value. */
function sampleDeviation(values: readonly number[]): number {
  if (values.length <= 1) return 0;
  const centre = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (values.length - 1));
}
