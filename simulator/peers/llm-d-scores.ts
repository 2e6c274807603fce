/**
 * llm-d's endpoint picker (llm-d-router, August 2026): a weighted sum of scores in [0, 1].
 *
 *   prefix = matched / total blocks of the prompt, a block counting by its tier; 0 where the prompt has no full block
 *   queue  = (maxQ - q) / (maxQ - minQ), q requests waiting; all equal: 1
 *   kv     = 1 - share of the KV cache in use
 *
 * Highest sum; ties at random (the max-score picker shuffles before it sorts). Two readings: vLLM's `kv_cache_usage_perc` counts blocks that
 * requests hold, not cached ones that may be evicted, so the live part is used here; and `q` is vLLM's waiting queue, for which the requests
 * without a first token stand.
 */
import type { PeerPolicy, ReplicaSight, RoutedRequest } from "../policy.ts";
import { fullBlocks, tierBlocks } from "./overlap.ts";
import { pickHighest } from "./pick.ts";

interface ScoreWeights {
  prefix: number;
  queue: number;
  kv: number;
  /** What a block on this tier counts in `prefix`. */
  device: number;
  host: number;
  disk: number;
}

function prefixScore(request: RoutedRequest, sight: ReplicaSight, weights: ScoreWeights): number {
  const total = fullBlocks(request.promptTokens, sight.blockTokens);
  if (total === 0) return 0;
  const { device, host, disk } = tierBlocks(request, sight);
  return (weights.device * device + weights.host * host + weights.disk * disk) / total;
}

/** One score a replica. */
function queueScores(sights: readonly ReplicaSight[]): number[] {
  const queues = sights.map((sight) => sight.waitingRequests);
  const longest = Math.max(...queues);
  const shortest = Math.min(...queues);
  return queues.map((queue) => (longest === shortest ? 1 : (longest - queue) / (longest - shortest)));
}

/** A policy that takes the highest weighted sum. */
export function highestSum(name: string, weights: ScoreWeights): PeerPolicy {
  return {
    name,
    choose(request, sights, draw) {
      const queue = queueScores(sights);
      const scores = sights.map((sight, index) => {
        const kv = 1 - Math.min(1, sight.liveKvTokens / sight.kvTokens);
        return weights.prefix * prefixScore(request, sight, weights) + weights.queue * (queue[index] ?? 0) + weights.kv * kv;
      });
      return pickHighest(scores, draw);
    },
  };
}
