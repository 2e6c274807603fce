/** What the edge takes of its machine, a window of requests at a time. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { cpuMs, rssMb } from "../edge/cpu.ts";
import { percentile, round } from "../tiers/figures.ts";
import type { Belief } from "./beliefs.ts";
import type { SoakEdge } from "./edge-process.ts";
import type { Load, LoadCounts } from "./load.ts";
import type { OffSummary } from "./predictions.ts";

const GAUGES = {
  leases: "warmpath_leases",
  line: "warmpath_router_queue_pending_requests",
  ready: "warmpath_replicas_ready",
  indexEntries: "warmpath_index_entries",
  indexEvicted: "warmpath_index_evicted_total",
  resyncs: "warmpath_resyncs_total",
} as const;

export type Gauges = Record<keyof typeof GAUGES, number | null>;

export interface Taken {
  rssMib: number;
  /** Open descriptors. */
  fds: number;
  /** Of the state directory. */
  files: number;
  stateMib: number;
}

export interface Window extends Taken {
  /** The last request of it. */
  request: number;
  seconds: number;
  phase: string;
  edgeLife: number;
  /** Of the edge; null where it was killed meanwhile. */
  cpuMsPerRequest: number | null;
  latencyP50Ms: number;
  latencyP99Ms: number;
  outcomes: Partial<LoadCounts>;
  gauges: Gauges;
  predictions: OffSummary;
  belief: Belief | null;
}

export async function gaugesOf({ url }: { url: string }): Promise<Gauges> {
  const text = await fetch(`${url}/metrics`, { signal: AbortSignal.timeout(5_000) })
    .then((response) => response.text())
    .catch(() => "");
  const valueOf = (name: string): number | null => {
    const found = new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "m").exec(text)?.[1];
    return found === undefined ? null : Number(found);
  };
  return Object.fromEntries(Object.entries(GAUGES).map(([key, name]) => [key, valueOf(name)])) as Gauges;
}

export function takenBy(edge: SoakEdge): Taken {
  const sizes = sizesIn(edge.stateDirectory);
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  return { rssMib: round(rssMb(edge.pid)), fds: descriptorsOf(edge.pid), files: sizes.length, stateMib: round(bytes / 2 ** 20) };
}

function descriptorsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** Files come and go while they are counted. */
function sizesIn(directory: string): number[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .flatMap((entry) => statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })?.size ?? []);
}

/** CPU of the edge between two moments of one life. */
export class CpuMeter {
  readonly #edge: SoakEdge;
  #life = 0;
  #cpuMs = 0;
  #sent = 0;

  constructor(edge: SoakEdge, sent: number) {
    this.#edge = edge;
    this.restart(sent);
  }

  restart(sent: number): void {
    this.#life = this.#edge.life;
    this.#cpuMs = this.#edge.isUp ? cpuMs(this.#edge.pid) : 0;
    this.#sent = sent;
  }

  /** Since the last time; null where the edge was killed meanwhile. */
  perRequest(sent: number): number | null {
    const { isUp, life, pid } = this.#edge;
    const ms = isUp && life === this.#life ? cpuMs(pid) - this.#cpuMs : null;
    const requests = sent - this.#sent;
    this.restart(sent);
    return ms === null || requests === 0 ? null : round(ms / requests, 3);
  }
}

export class Windows {
  readonly all: Window[] = [];
  readonly #edge: SoakEdge;
  readonly #load: Load;
  readonly #cpu: CpuMeter;
  readonly #startedMs = performance.now();
  #counts: LoadCounts;

  constructor(edge: SoakEdge, load: Load) {
    this.#edge = edge;
    this.#load = load;
    this.#cpu = new CpuMeter(edge, load.counts.sent);
    this.#counts = { ...load.counts };
  }

  async close(phase: string, predictions: OffSummary, belief: Belief | null): Promise<Window> {
    await this.#edge.up;
    const { counts } = this.#load;
    const latencies = this.#load.takeLatencies();
    const before = this.#counts;
    this.#counts = { ...counts };
    const changed = (Object.keys(counts) as (keyof LoadCounts)[]).filter((key) => counts[key] !== before[key]);
    const window: Window = {
      request: counts.sent,
      seconds: round((performance.now() - this.#startedMs) / 1_000),
      phase,
      edgeLife: this.#edge.life,
      cpuMsPerRequest: this.#cpu.perRequest(counts.sent),
      ...takenBy(this.#edge),
      latencyP50Ms: round(percentile(latencies, 0.5)),
      latencyP99Ms: round(percentile(latencies, 0.99)),
      outcomes: Object.fromEntries(changed.map((key) => [key, counts[key] - before[key]])),
      gauges: await gaugesOf(this.#edge),
      predictions,
      belief,
    };
    this.all.push(window);
    return window;
  }
}
