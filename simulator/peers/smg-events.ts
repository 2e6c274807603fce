/**
 * SMG `cache_aware` with KV events (gRPC engines): while balanced (smg-balance.ts) any overlap wins: most blocks, then lower load, then the
 * smaller tree; the last of equals, as Rust's max_by_key takes it. Without overlap the least load.
 */
import { type PeerPolicy, inFlightRequests } from "../policy.ts";
import { fullBlocks, heldTokens } from "./overlap.ts";
import { pickFirst } from "./pick.ts";
import { prefixWhileBalanced } from "./smg-balance.ts";

export function smgEvents(): PeerPolicy {
  return prefixWhileBalanced("smg-events", (request, sights) => {
    const blocks = sights.map((sight) => fullBlocks(heldTokens(request, sight), sight.blockTokens));
    const index = pickFirst(sights.map((sight, at) => [-(blocks[at] ?? 0), inFlightRequests(sight), sight.treeTokens, -at]));
    return (blocks[index] ?? 0) > 0 ? index : null;
  });
}
