import type { MetricFamily } from "../prometheus.ts";
import { leftOutNow } from "./exclusion.ts";
import type { PoolState } from "./state.ts";

type Metric = [name: string, type: "counter" | "gauge", help: string, value: number];

/** What one pool counts, each sample with its name. Names follow the field's routers where they mean the same. */
export function poolMetrics(pool: string, state: PoolState, nowMs = 0): MetricFamily[] {
  const { counters: c, funnels, index, leases, line, membership } = state;
  const f = funnels.pool;
  const inState = (wanted: string): number => membership.replicas.filter((replica) => replica.state === wanted).length;
  const metrics: Metric[] = [
    ["warmpath_router_requests_total", "counter", "Requests sent to a replica, retries included", c.decisions],
    ["warmpath_router_retries_total", "counter", "Requests sent to another replica after a failure", c.retries],
    ["warmpath_router_refused_total", "counter", "Requests refused: the line was full, or they would have come too late", c.refused],
    ["warmpath_router_waited_total", "counter", "Calls that had to wait in line", c.waited],
    ["warmpath_router_predicted_cached_tokens_total", "counter", "Prompt tokens predicted to be cached", c.predictedCachedTokens],
    ["warmpath_router_cached_tokens_total", "counter", "Prompt tokens that were cached, by the replicas' own word", c.reportedCachedTokens],
    ["warmpath_router_prompt_tokens_total", "counter", "Prompt tokens", c.promptTokens],
    ["warmpath_router_output_tokens_total", "counter", "Output tokens", c.outputTokens],
    ["warmpath_leases_settled_total", "counter", "Leases that ended with usage", c.settled],
    ["warmpath_leases_released_total", "counter", "Leases given back by the edge", c.released],
    ["warmpath_leases_expired_total", "counter", "Leases that ran out", c.expired],
    ["warmpath_reports_stray_total", "counter", "Reports of leases that their replica does not have", c.strayReports],
    ["warmpath_reports_cut_total", "counter", "Reports with a number outside its range; it was cut or left out", c.cutReports],
    ["warmpath_resyncs_total", "counter", "Times a replica was asked to announce again", c.resyncs],
    ["warmpath_first_tokens_total", "counter", "First tokens that were predicted and have come", c.firstTokens],
    ["warmpath_first_tokens_misjudged_total", "counter", "Of these, those more than 5 times later or sooner than predicted", c.misjudged],
    ["warmpath_remote_prefills_total", "counter", "Requests that another replica was to prefill", c.remotePrefills],
    ["warmpath_pulls_total", "counter", "Requests whose replica was to fetch blocks that another one holds", c.pulls],
    ["warmpath_transfers_used_total", "counter", "Transfers that went as planned, by the receivers' own word", c.transfersUsed],
    ["warmpath_transfers_fallback_total", "counter", "Transfers that failed; their receivers computed instead", c.transfersFallenBack],
    ["warmpath_funnel_requests_total", "counter", "Requests of the funnel below: those that wrote something and have ended", f.requests],
    ["warmpath_funnel_prompt_tokens_total", "counter", "Their prompt tokens", f.promptTokens],
    ["warmpath_funnel_ever_computed_tokens_total", "counter", "Of these, tokens that had come by before", f.everComputedTokens],
    ["warmpath_funnel_held_tokens_total", "counter", "Of these, tokens that some replica held", f.heldTokens],
    ["warmpath_funnel_held_by_chosen_tokens_total", "counter", "Of these, tokens that the chosen replica held", f.chosenTokens],
    ["warmpath_funnel_reused_tokens_total", "counter", "Of these, tokens that it did not compute again", f.reusedTokens],
    ["warmpath_replica_failures_total", "counter", "Attempts that a replica failed, by the edges' word", c.failures],
    ["warmpath_replica_left_out_total", "counter", "Times a replica was left out because it failed every request", c.leftOut],
    ["warmpath_leases", "gauge", "Live leases", leases.size],
    ["warmpath_router_queue_pending_requests", "gauge", "Requests that wait for a replica", line.length],
    ["warmpath_replicas_ready", "gauge", "Replicas that take requests or prefill for others", inState("ready")],
    ["warmpath_replicas_joining", "gauge", "Replicas that the pool can't reach at their URLs, or not yet", inState("joining")],
    ["warmpath_replicas_suspect", "gauge", "Replicas not heard of lately", inState("suspect")],
    ["warmpath_replicas_left_out", "gauge", "Ready replicas that are left out for failing every request", leftOutNow(state, nowMs).length],
    ["warmpath_index_entries", "gauge", "Entries of the segment index", index.size],
    ["warmpath_index_bytes", "gauge", "Bytes of the segment index", index.bytes],
    ["warmpath_index_evicted_total", "counter", "Entries thrown out for lack of room", index.evicted],
    ["warmpath_checkpoint_rows_total", "counter", "Rows written for the checkpoint", c.checkpointRows],
    ["warmpath_checkpoint_bytes_total", "counter", "Bytes written for the checkpoint", c.checkpointBytes],
  ];
  return metrics.map(([name, type, help, value]) => ({ name, type, help, samples: [{ labels: { pool }, value }] }));
}
