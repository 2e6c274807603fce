/**
 * Dynamo v1.5, KV router, default ("linear") cost, in blocks:
 *
 *   raw prefill = (uncached tokens of prefills in flight + prompt tokens) / block
 *   credit      = 1.0 * device + 0.75 * host + 0.25 * disk blocks of the overlap, each block on its fastest tier
 *   cost        = max(raw prefill - credit, 0) + active blocks + blocks this request adds to them
 *
 * Lowest cost; temperature 0. From ai-dynamo/dynamo lib/kv-router/src/scheduling as of 2026, not at the tag: config.rs (defaults; the decay of
 * the credit and the weight of active requests are 0, so both terms are left out), selector/default.rs (cost; ties are drawn evenly; host and
 * disk blocks are extensions beyond the faster tiers), sequences/prompt_registry.rs (active blocks: unique blocks of all requests in flight,
 * prefilling ones too; added: the request's blocks that none of them uses). One difference: Dynamo counts answers' blocks only with
 * `--router-track-output-blocks`; here they are counted, as the simulator knows them.
 */
import type { PeerPolicy, ReplicaSight, RoutedRequest } from "../policy.ts";
import { fullBlocks, tierBlocks } from "./overlap.ts";
import { pickLowest } from "./pick.ts";

const DEVICE_CREDIT = 1;
const HOST_CREDIT = 0.75;
const DISK_CREDIT = 0.25;

/** Prefill blocks that would be in flight there, the overlap credited; 0 or more. */
export function adjustedPrefillBlocks(request: RoutedRequest, sight: ReplicaSight): number {
  const raw = (sight.activePrefillTokens + request.promptTokens) / sight.blockTokens;
  const { device, host, disk } = tierBlocks(request, sight);
  return Math.max(raw - (DEVICE_CREDIT * device + HOST_CREDIT * host + DISK_CREDIT * disk), 0);
}

/** Blocks that requests in flight would use there with this one. */
export function potentialDecodeBlocks(request: RoutedRequest, sight: ReplicaSight): number {
  const active = Math.ceil(sight.liveKvTokens / sight.blockTokens);
  const shared = fullBlocks(Math.min(request.promptTokens, sight.liveOverlapTokens), sight.blockTokens);
  return active + Math.ceil(request.promptTokens / sight.blockTokens) - shared;
}

export function dynamoLinear(): PeerPolicy {
  return {
    name: "dynamo-linear",
    choose: (request, sights, draw) =>
      pickLowest(
        sights.map((sight) => adjustedPrefillBlocks(request, sight) + potentialDecodeBlocks(request, sight)),
        draw,
      ),
  };
}
