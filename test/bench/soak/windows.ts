/** What the edge takes of its machine, a window of requests at a time. */
import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
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
  /** Open descriptors that are sockets, and all others. */
  sockets: number;
  openFiles: number;
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
  /** Of the time in which the edge wanted a processor, how much it waited for one; null as above. */
  edgeWaitShare: number | null;
  latencyP50Ms: number;
  latencyP99Ms: number;
  /** How many times as long as they should the mock replicas' steps took: above 1 the machine had too little time for them. */
  mockLag: number;
  outcomes: Partial<LoadCounts>;
  gauges: Gauges;
  predictions: OffSummary;
  belief: Belief | null;
}

export async function gaugesOf({ url }: { url: string }): Promise<Gauges> {
  const text = await fetch(`${url}/metrics`, { headers: { "cache-control": "no-cache" }, signal: AbortSignal.timeout(5_000) })
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
  return { rssMib: round(rssMb(edge.pid)), ...descriptorsOf(edge.pid), files: sizes.length, stateMib: round(bytes / 2 ** 20) };
}

function descriptorsOf(pid: number): Pick<Taken, "sockets" | "openFiles"> {
  const links = readdirSync(`/proc/${pid}/fd`).map((name) => linkOf(`/proc/${pid}/fd/${name}`));
  const sockets = links.filter((link) => link.startsWith("socket:")).length;
  return { sockets, openFiles: links.filter((link) => link !== "").length - sockets };
}

/** Descriptors come and go while they are counted. */
function linkOf(file: string): string {
  try {
    return readlinkSync(file);
  } catch {
    return "";
  }
}

/** Files come and go while they are counted. */
function sizesIn(directory: string): number[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .flatMap((entry) => statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })?.size ?? []);
}

/** Run and runnable time of all its threads that live, ns (the kernel's schedstat). */
function scheduled(pid: number): { ranNs: number; waitedNs: number } {
  const sum = { ranNs: 0, waitedNs: 0 };
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const [ran, waited] = textOf(`/proc/${pid}/task/${thread}/schedstat`).split(" ").map(Number);
    sum.ranNs += ran ?? 0;
    sum.waitedNs += waited ?? 0;
  }
  return sum;
}

/** Threads end while they are counted. */
function textOf(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "0 0 0";
  }
}

/** What the edge has of the processors between two moments of one life. */
export class CpuMeter {
  readonly #edge: SoakEdge;
  #life = 0;
  #before = { cpuMs: 0, ranNs: 0, waitedNs: 0 };
  #sent = 0;

  constructor(edge: SoakEdge, sent: number) {
    this.#edge = edge;
    this.#restart(sent);
  }

  /** Since the last time; nulls where the edge was killed meanwhile. */
  since(sent: number): Pick<Window, "cpuMsPerRequest" | "edgeWaitShare"> {
    const [before, life, requests] = [this.#before, this.#life, sent - this.#sent];
    this.#restart(sent);
    if (life !== this.#life || before.cpuMs === 0 || requests === 0) return { cpuMsPerRequest: null, edgeWaitShare: null };
    const { cpuMs: now, ranNs, waitedNs } = this.#before;
    const waited = waitedNs - before.waitedNs;
    return {
      cpuMsPerRequest: round((now - before.cpuMs) / requests, 3),
      edgeWaitShare: round(waited / Math.max(1, waited + ranNs - before.ranNs), 3),
    };
  }

  #restart(sent: number): void {
    const { isUp, life, pid } = this.#edge;
    this.#life = life;
    this.#sent = sent;
    this.#before = isUp ? { cpuMs: cpuMs(pid), ...scheduled(pid) } : { cpuMs: 0, ranNs: 0, waitedNs: 0 };
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

  async close(phase: string, mockLag: number, predictions: OffSummary, belief: Belief | null): Promise<Window> {
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
      ...this.#cpu.since(counts.sent),
      ...takenBy(this.#edge),
      latencyP50Ms: round(percentile(latencies, 0.5)),
      latencyP99Ms: round(percentile(latencies, 0.99)),
      mockLag,
      outcomes: Object.fromEntries(changed.map((key) => [key, counts[key] - before[key]])),
      gauges: await gaugesOf(this.#edge),
      predictions,
      belief,
    };
    this.all.push(window);
    return window;
  }
}

/** For whoever watches. "?": not measured in this window. */
export function lineOf(window: Window): string {
  const { request, seconds, phase, outcomes, gauges, predictions, belief } = window;
  const { known, ratioP50, offP50, offP99 } = predictions;
  const parts = [
    Object.entries(outcomes)
      .map(([name, count]) => `${name} ${count}`)
      .join(", "),
    `latency ${window.latencyP50Ms} / ${window.latencyP99Ms} ms`,
    `edge ${window.rssMib} MiB, ${window.cpuMsPerRequest ?? "?"} ms CPU a request (waited ${window.edgeWaitShare ?? "?"})`,
    `${window.sockets} sockets, ${window.openFiles} other descriptors, ${window.files} files of ${window.stateMib} MiB`,
    `ready ${gauges.ready}, leases ${gauges.leases}, line ${gauges.line}, index ${gauges.indexEntries} (${gauges.indexEvicted} evicted)`,
    `mock steps ${window.mockLag} times as long`,
    `predicted ${known === 0 ? "?" : `${ratioP50} of actual, off ${offP50} / ${offP99} times`}`,
    `belief off ${belief === null ? "?" : `${belief.seenOff} (${belief.worst}), unseen ${belief.unseenOff}`}`,
  ];
  return `${request} requests, ${Math.round(seconds)} s, ${phase}: ${parts.join("; ")}`;
}
