/** What a replica counts, for Prometheus: its engine's load and what its tiers hold, give, refuse and fail at. */
import { type MetricFamily, prometheusText } from "../src/prometheus.ts";
import type { TierCounters } from "./blocks/tier.ts";
import type { TierStack } from "./blocks/tier-stack.ts";
import type { EngineFaults, EngineLoad } from "./engine/engine.ts";
import type { KvEventCounts, ResidencyState } from "./engine/residency-state.ts";
import type { TransferCount } from "./transfer-counts.ts";

const TIER_COUNTERS: Readonly<Record<Exclude<keyof TierCounters, "damaged">, string>> = {
  hits: "Blocks read from the tier",
  misses: "Blocks asked of the tier that it did not have",
  evicted: "Blocks thrown out for lack of room",
  refused: "Blocks not taken: no room, disk full, store down",
  errors: "Reads and writes that failed",
  full: "Writes that found the medium full: the oldest blocks then make room, as at the budget",
};

export interface ReplicaCounts {
  load: EngineLoad;
  faults: EngineFaults;
  /** Of its engine. */
  residency: ResidencyState;
  /** Null: its engine's KV events are not followed. */
  kvEvents: KvEventCounts | null;
  transfers: readonly TransferCount[];
  /** Requests that run, and what is computed or sent for other replicas. */
  running: number;
  /** Null: only the device. */
  tiers: TierStack | null;
}

const RESIDENCY_STATES = ["exact", "degraded", "predicted"] as const;

const EVENT_COUNTERS: Readonly<Record<keyof KvEventCounts, string>> = {
  batches: "Batches of the engine's KV events that were applied",
  malformed: "KV events and messages that could not be read",
  unknown: "KV events of a type that this version does not know",
  replays: "How often KV events were asked for again",
  restarts: "Lives of the engine that its KV events showed to have ended",
};

/** Of one replica. */
function familiesOf(replica: string) {
  const one = (value: number): MetricFamily["samples"] => [{ labels: { replica }, value }];
  const gauge = (name: string, help: string, value: number): MetricFamily => ({ name, type: "gauge", help, samples: one(value) });
  const counter = (name: string, help: string, value: number): MetricFamily => ({ name, type: "counter", help, samples: one(value) });
  return { gauge, counter };
}

export function replicaMetricsText(
  replica: string,
  { load, faults, residency, kvEvents, transfers, running, tiers }: ReplicaCounts,
): string {
  const { gauge, counter } = familiesOf(replica);
  const families = [
    gauge("warmpath_replica_requests", "Requests here, those for other replicas included", running),
    gauge("warmpath_engine_running", "Sequences that the engine computes", load.running),
    gauge("warmpath_engine_queued", "Requests in the engine's queue", load.queued),
    gauge("warmpath_engine_used_kv_tokens", "Tokens in live sequences", load.usedKvTokens),
    ...residencyFamilies(replica, residency, kvEvents),
    counter(
      "warmpath_engine_restores_refused_total",
      "KV that came with a request and was not used: it did not fit, or was not finite",
      faults.restores,
    ),
    counter("warmpath_engine_not_finite_total", "Runs that ended with an error because their logits were not finite", faults.notFinite),
    {
      name: "warmpath_transfers_total",
      type: "counter" as const,
      help: "Transfers to this replica, by peer and outcome: used, or why not all of it came",
      samples: transfers.map(({ kind, peer, outcome, count }) => ({ labels: { replica, kind, peer, outcome }, value: count })),
    },
  ];
  return prometheusText(tiers === null ? families : [...families, ...tierFamilies(replica, tiers)]);
}

function tierFamilies(replica: string, tiers: TierStack): MetricFamily[] {
  const { gauge, counter } = familiesOf(replica);
  const each = (value: (tier: TierStack["tiers"][number]) => number): MetricFamily["samples"] =>
    tiers.tiers.map((tier) => ({ labels: { replica, tier: tier.name }, value: value(tier) }));
  const { counters } = tiers;
  return [
    { name: "warmpath_tier_used_bytes", type: "gauge", help: "Bytes of blocks in the tier", samples: each(({ usedBytes }) => usedBytes) },
    { name: "warmpath_tier_budget_bytes", type: "gauge", help: "Bytes that it may take", samples: each(({ budgetBytes }) => budgetBytes) },
    {
      name: "warmpath_tier_pinned_bytes",
      type: "gauge",
      help: "Of these, bytes that are pinned: at most half of the budget",
      samples: each(({ pinnedBytes }) => pinnedBytes),
    },
    ...(Object.keys(TIER_COUNTERS) as (keyof typeof TIER_COUNTERS)[]).map((name): MetricFamily => ({
      name: `warmpath_tier_${name}_total`,
      type: "counter",
      help: TIER_COUNTERS[name],
      samples: each((tier) => tier.counters[name]),
    })),
    {
      name: "warmpath_tier_damaged_total",
      type: "counter",
      help: "Blocks that were not what they should be, by what was wrong; they are forgotten and computed again",
      samples: tiers.tiers.flatMap(({ name, counters: { damaged } }) =>
        Object.entries(damaged).map(([reason, value]) => ({ labels: { replica, tier: name, reason }, value })),
      ),
    },
    gauge("warmpath_tiers_queued_bytes", "Bytes of blocks that wait to be written", tiers.queuedBytes),
    counter("warmpath_tiers_offered_total", "Blocks taken to be written below the device", counters.offered),
    counter("warmpath_tiers_dropped_total", "Blocks that found a tier's queue full", counters.dropped),
    counter("warmpath_tiers_orphaned_total", "Blocks not written as what comes before them was refused", counters.orphaned),
    counter("warmpath_tiers_invalid_total", "Blocks that contradict themselves or the model", counters.invalid),
    counter("warmpath_tiers_loaded_blocks_total", "Blocks loaded for the engine", counters.loadedBlocks),
    counter("warmpath_tiers_loaded_tokens_total", "Tokens loaded for the engine", counters.loadedTokens),
  ];
}

function residencyFamilies(replica: string, residency: ResidencyState, kvEvents: KvEventCounts | null): MetricFamily[] {
  const states: MetricFamily = {
    name: "warmpath_engine_residency",
    type: "gauge",
    help: "1 for how sure it is what the engine holds. exact: it says all; degraded: it says some; predicted: it says nothing",
    samples: RESIDENCY_STATES.map((state) => ({ labels: { replica, state }, value: state === residency.state ? 1 : 0 })),
  };
  if (kvEvents === null) return [states];
  const counters = (Object.keys(EVENT_COUNTERS) as (keyof KvEventCounts)[]).map((name): MetricFamily => ({
    name: `warmpath_engine_kv_event_${name}_total`,
    type: "counter",
    help: EVENT_COUNTERS[name],
    samples: [{ labels: { replica }, value: kvEvents[name] }],
  }));
  return [states, ...counters];
}
