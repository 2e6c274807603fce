/**
 * Minimum predicted TTFT: not a product, but the best single-term rule known. It accounts its own uncached tokens in flight and knows the engine's true constants:
 *
 *   u, h   = tokens to compute and tokens held; those on a lower tier are held where loading them is less than computing them
 *   ahead  = B * (uncached tokens ahead) + Q * (their attention pairs)
 *   own    = B * u + Q * u * (h + u/2) + loading
 *   steps  = ceil((tokens ahead + u) / (tokens of a step - decoding sequences))
 *   TTFT   = ahead + own + steps * (a step with nothing in it + C * decoding sequences + D * their context)
 *
 * It knows nothing of what it does to those decoding there, nor of what it evicts. Ties: at random.
 */
import type { PeerPolicy, ReplicaSight, RoutedRequest } from "../policy.ts";
import { pickLowest } from "./pick.ts";

/** ms from arrival to the first token, by the constants of that replica's engine. */
export function predictedTtftMs(request: RoutedRequest, sight: ReplicaSight): number {
  const own = ownPrefill(request, sight);
  const ahead = sight.prefillMsPerToken * sight.activePrefillTokens + sight.attentionMsPerPair * sight.activePrefillPairs;
  const tokensAStep = Math.max(1, sight.stepTokens - sight.runningRequests);
  const steps = Math.ceil((sight.activePrefillTokens + own.uncachedTokens) / tokensAStep);
  const decodeMs = sight.decodeMsPerSequence * sight.runningRequests + sight.decodeMsPerContextToken * sight.activeDecodeTokens;
  return ahead + own.ms + steps * (sight.stepMs + decodeMs);
}

interface OwnPrefill {
  uncachedTokens: number;
  ms: number;
}

/** The quickest of using the device's part, the host's too, the disk's too. */
function ownPrefill({ promptTokens }: RoutedRequest, sight: ReplicaSight): OwnPrefill {
  // The last token is always computed: it gives the first one of the answer.
  const within = (tokens: number): number => Math.min(promptTokens - 1, tokens);
  const [device, host, disk] = [within(sight.deviceTokens), within(sight.hostTokens), within(sight.diskTokens)];
  const hostMs = loadMs(host - device, sight.hostLoadMsPerToken);
  const candidates = [
    prefillOf(promptTokens, device, 0, sight),
    prefillOf(promptTokens, host, hostMs, sight),
    prefillOf(promptTokens, disk, hostMs + loadMs(disk - host, sight.diskLoadMsPerToken), sight),
  ];
  return candidates.reduce((best, next) => (next.ms < best.ms ? next : best));
}

/** 0 tokens take no time, even where there is no such tier. */
function loadMs(tokens: number, msPerToken: number): number {
  return tokens <= 0 ? 0 : tokens * msPerToken;
}

function prefillOf(promptTokens: number, heldTokens: number, loadingMs: number, sight: ReplicaSight): OwnPrefill {
  const u = promptTokens - heldTokens;
  return { uncachedTokens: u, ms: sight.prefillMsPerToken * u + sight.attentionMsPerPair * u * (heldTokens + u / 2) + loadingMs };
}

export function minTtft(): PeerPolicy {
  return {
    name: "min-ttft",
    choose: (request, sights, draw) =>
      pickLowest(
        sights.map((sight) => predictedTtftMs(request, sight)),
        draw,
      ),
  };
}
