/**
 * SMG `cache_aware` with the command line's defaults, over HTTP: while balanced (smg-balance.ts) the best match if it is more than 0.3
 * of the prompt, else the least load. In SMG the tree remembers one replica a node, the one routed there last; here it sees what all of them
 * hold, and equal matches go to the lower load, then to the one that was given fewer, then to the first: kinder.
 */
import { type PeerPolicy, inFlightRequests } from "../policy.ts";
import { heldShare, heldTokens } from "./overlap.ts";
import { pickFirst } from "./pick.ts";
import { prefixWhileBalanced } from "./smg-balance.ts";

const CACHE_THRESHOLD = 0.3;

export function smgCacheAware(): PeerPolicy {
  return prefixWhileBalanced("smg-cache-aware", (request, sights, placed) => {
    const index = pickFirst(sights.map((sight, at) => [-heldTokens(request, sight), inFlightRequests(sight), placed(at)]));
    const best = sights[index];
    return best !== undefined && heldShare(request, best) > CACHE_THRESHOLD ? index : null;
  });
}
