/**
 * LMetric: multiplication instead of weights (Zhang et al., arXiv:2603.15202), in the form of llm-d-router PR #2351:
 *
 *   cost = uncached tokens of the prompt * (requests in flight + 1)
 *
 * Lowest cost, ties at random. The overlap counts whole whatever its tier (so the PR's review). At least one token is uncached: an engine
 * always computes the last one, and a cost of 0 would ignore the load. The other form: lmetric-dynamo.ts.
 */
import { type PeerPolicy, inFlightRequests } from "../policy.ts";
import { heldTokens } from "./overlap.ts";
import { pickLowest } from "./pick.ts";

export function lmetric(): PeerPolicy {
  return {
    name: "lmetric",
    choose: (request, sights, draw) =>
      pickLowest(
        sights.map((sight) => Math.max(1, request.promptTokens - heldTokens(request, sight)) * (inFlightRequests(sight) + 1)),
        draw,
      ),
  };
}
