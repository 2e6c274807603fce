/**
 * How many tokens a replica of the embedded engine can hold, counted as the simulator counts them: each token once. A sequence of llama.cpp holds one chain
 * of blocks, however short, and what two chains share lies in both. So room is not `sequences * contextTokens` but what that many chains of this
 * workload have in them.
 */
import type { Plan } from "../../../simulator/plan.ts";
import type { Seen } from "./play.ts";

/**
 * Prompts in the order of their ends fill a replica's sequences: one that continues a chain takes its place, another one that of the chain used longest ago.
 * The mean of distinct tokens in them, while they are full; null when they never were.
 */
export function roomTokens(plan: Plan, seen: readonly Seen[], sequences: number): number | null {
  const held = new Map<string, Int32Array[]>();
  let [sum, count] = [0, 0];
  for (const { id, replica, failed } of seen.toSorted((left, right) => left.endedAtMs - right.endedAtMs)) {
    const request = plan.requests[id];
    if (failed || request === undefined) continue;
    const chains = held.get(replica) ?? [];
    held.set(replica, chains);
    const continued = chains.findIndex((chain) => chain.every((segment, at) => request.path[at] === segment));
    if (continued >= 0) chains.splice(continued, 1);
    else if (chains.length >= sequences) chains.shift();
    chains.push(request.path);
    if (chains.length < sequences) continue;
    for (const segment of new Set(chains.flatMap((chain) => [...chain]))) {
      sum += (plan.tree.ends[segment] ?? 0) - (plan.tree.starts[segment] ?? 0);
    }
    count++;
  }
  return count === 0 ? null : sum / count;
}
