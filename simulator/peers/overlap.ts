/** What a replica holds of a prompt, in the units that the peers use. */
import type { ReplicaSight, RoutedRequest } from "../policy.ts";

/**
 * Leading tokens held on whatever tier: what a peer sees that knows no tiers. At most the prompt.
 */
export function heldTokens(request: RoutedRequest, sight: ReplicaSight): number {
  return Math.min(request.promptTokens, sight.diskTokens);
}

/** Share of the prompt's tokens that it holds: 0 … 1. */
export function heldShare(request: RoutedRequest, sight: ReplicaSight): number {
  return heldTokens(request, sight) / Math.max(1, request.promptTokens);
}

/** Number of full blocks in `tokens`. */
export function fullBlocks(tokens: number, blockTokens: number): number {
  return Math.floor(tokens / blockTokens);
}

/** Blocks of the overlap, each counted on the fastest tier that has it. */
interface TierBlocks {
  device: number;
  host: number;
  disk: number;
}

export function tierBlocks(request: RoutedRequest, sight: ReplicaSight): TierBlocks {
  const upTo = (tokens: number): number => fullBlocks(Math.min(request.promptTokens, tokens), sight.blockTokens);
  const device = upTo(sight.deviceTokens);
  const host = upTo(sight.hostTokens);
  return { device, host: host - device, disk: upTo(sight.diskTokens) - host };
}
