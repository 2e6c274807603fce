/**
 * llm-d with KV events: 2 * prefix + 1 * queue + 1 * kv (llm-d-scores.ts), the sample configuration of llm-d-router
 * (deploy/config/epp-precise-prefix-cache-config.yaml). Blocks count by tier: gpu 1.0, cpu 0.8 (pkg/kvcache/backend.go); a tier that is not in
 * that list, such as disk, counts 1.0 (pkg/kvcache/kvblock_scorer.go).
 */
import type { PeerPolicy } from "../policy.ts";
import { highestSum } from "./llm-d-scores.ts";

export function llmDPrecise(): PeerPolicy {
  return highestSum("llm-d-precise", { prefix: 2, queue: 1, kv: 1, device: 1, host: 0.8, disk: 1 });
}
