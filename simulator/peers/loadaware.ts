/**
 * vLLM production-stack `loadaware` (PR #1035, August 2026):
 *
 *   score = matched tokens / prompt tokens - beta * (load - mean load) / max(1, mean load),   beta = 1.0
 *
 * Highest score. Load is requests in flight, prefilling and decoding. The match is at most the prompt; every replica is scored, one without
 * a match with 0. Ties: the first in order of names (so a copy of the patch; the formula is the pull request's own). Where nobody holds
 * anything the product falls back to its session hash or the lowest rate; here the same score decides, which takes the least loaded: kinder.
 */
import { type PeerPolicy, inFlightRequests } from "../policy.ts";
import { heldShare } from "./overlap.ts";

const BETA = 1;

export function loadaware(): PeerPolicy {
  return {
    name: "loadaware",
    choose(request, sights) {
      const loads = sights.map(inFlightRequests);
      const mean = loads.reduce((sum, load) => sum + load, 0) / Math.max(1, loads.length);
      let best: { index: number; score: number; name: string } | null = null;
      for (const [index, sight] of sights.entries()) {
        const score = heldShare(request, sight) - (BETA * ((loads[index] ?? 0) - mean)) / Math.max(1, mean);
        const wins = best === null || score > best.score || (score === best.score && sight.name < best.name);
        if (wins) best = { index, score, name: sight.name };
      }
      if (best === null) throw new RangeError("no replica to choose from");
      return best.index;
    },
  };
}
