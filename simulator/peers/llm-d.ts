/**
 * llm-d, default weights: 3 * prefix + 2 * queue + 2 * kv (llm-d-scores.ts). Its approximate index
 * knows no tiers: a matched block counts 1 wherever it lies.
 */
import type { PeerPolicy } from "../policy.ts";
import { highestSum } from "./llm-d-scores.ts";

export function llmD(): PeerPolicy {
  return highestSum("llm-d", { prefix: 3, queue: 2, kv: 2, device: 1, host: 1, disk: 1 });
}
