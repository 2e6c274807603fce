/** What the long half is judged by, one line each. */
import { median, round } from "../tiers/figures.ts";
import { addedOff, type Belief, type Return } from "./beliefs.ts";
import { atLeast, atMost, type Check } from "./check.ts";
import type { LoadCounts } from "./load.ts";
import type { OffSummary } from "./predictions.ts";
import type { Probed } from "./probe.ts";
import type { Real } from "./real-requests.ts";
import type { Window } from "./windows.ts";

const MOST_LAG = 1.2;
const MOST_WAIT_SHARE = 0.5;
const OFF_P50 = 2;
const OFF_P99 = 4;
/** 30,000 of 300,000 requests: what grows in them is warming up. */
const WARM_SHARE = 0.1;

export interface Soaked {
  requests: number;
  counts: LoadCounts;
  windows: readonly Window[];
  predictions: OffSummary;
  foretold: OffSummary;
  beliefs: readonly Belief[];
  returns: readonly (Return | null)[];
  indexWasFull: boolean;
  leftOver: { leases: number; line: number; running: number; notReady: number };
  end: Probed;
  real: Real;
  fresh: Probed;
}

export function verdictsOf(soaked: Soaked): Check[] {
  return [
    ...servedWell(soaked),
    ...predictedWell(soaked),
    ...flat(soaked),
    ...leftNothing(soaked),
    ...likeFresh(soaked),
    ...realWell(soaked),
  ];
}

/** Not measured counts as kept up: the edge was killed meanwhile. */
export function machineKeptUp({ mockLag, edgeWaitShare }: Window): boolean {
  return mockLag <= MOST_LAG && (edgeWaitShare ?? 0) <= MOST_WAIT_SHARE;
}

function servedWell({ counts, end, windows }: Soaked): Check[] {
  return [
    // The first two are not the product's: where they are missed, the times say little.
    atMost(
      "the machine kept up: steps of mock replicas, times as long as they should, median",
      medianOf(windows.map(({ mockLag }) => mockLag)),
      MOST_LAG,
    ),
    atMost(
      "the machine kept up: the edge waited for a processor, share of when it wanted one, median",
      medianOf(windows.map(({ edgeWaitShare }) => edgeWaitShare)),
      MOST_WAIT_SHARE,
    ),
    atMost("refused though the line was not full", counts.refusedEarly, 0),
    atMost("failed while nothing had been disturbed for 10 s", counts.failedInQuiet + end.failed + end.refused, 0),
  ];
}

function predictedWell({ predictions, foretold, beliefs, returns }: Soaked): Check[] {
  const worst = (of: (belief: Belief) => number): number => (beliefs.length === 0 ? Number.NaN : Math.max(...beliefs.map(of)));
  return [
    atMost("prediction with the true length / actual time to first token, times off, median", known(predictions).offP50, OFF_P50),
    atMost("prediction with the true length / actual time to first token, times off, p99", known(predictions).offP99, OFF_P99),
    atMost("prediction when decided / actual time to first token, times off, median", known(foretold).offP50, OFF_P50),
    atMost("prediction when decided / actual time to first token, times off, p99", known(foretold).offP99, OFF_P99),
    atMost(
      "belief of what a prompt's length adds, lengths that come, times off the truth, worst",
      worst(({ seenOff }) => seenOff),
      2,
    ),
    atMost(
      "belief of what a prompt's length adds, four times the longest, times off the truth, worst",
      worst(({ unseenOff }) => unseenOff),
      4,
    ),
    ...returns.map((found, at) =>
      atMost(`late return ${at + 1}: times off its like from the first report on`, found === null ? Number.NaN : found.off, 2),
    ),
  ];
}

/** Of nothing known nothing is within a limit. */
const known = (summary: OffSummary): Pick<OffSummary, "offP50" | "offP99"> =>
  summary.known > 0 ? summary : { offP50: Number.NaN, offP99: Number.NaN };

/** In the edge's last life, once it is warm: its last third beside its first. Mixed load only, so that like is compared with like. */
function flat({ windows, requests, indexWasFull }: Soaked): Check[] {
  const lastLife = windows.filter(({ edgeLife }) => edgeLife === windows.at(-1)?.edgeLife);
  const warmFrom = (lastLife[0]?.request ?? 0) + WARM_SHARE * requests;
  const warm = lastLife.filter(({ request, phase }) => request >= warmFrom && phase === "mixed");
  const third = Math.floor(warm.length / 3);
  const ends = (of: (window: Window) => number | null): [number, number] => [
    medianOf(warm.slice(0, third).map(of)),
    medianOf(warm.slice(warm.length - third).map(of)),
  ];
  const grown = (what: string, of: (window: Window) => number | null, times: number, more: number): Check => {
    const [early, late] = ends(of);
    return atMost(`${what}, last third (first third ${round(early, 2)})`, round(late, 3), round(early * times + more, 3));
  };
  return [
    atLeast("the index was full", indexWasFull ? 1 : 0, 1),
    grown("RSS of the edge, MiB", ({ rssMib }) => rssMib, 1.1, 16),
    grown("descriptors of the edge that are no sockets", ({ openFiles }) => openFiles, 1, 4),
    // As many as requests are in flight, and those that wait for the next.
    grown("sockets of the edge", ({ sockets }) => sockets, 1.25, 64),
    grown("files of the edge's state", ({ files }) => files, 1, 4),
    grown("state of the edge, MiB", ({ stateMib }) => stateMib, 1.1, 8),
    grown("CPU of the edge a request, ms", ({ cpuMsPerRequest }) => cpuMsPerRequest, 1.15, 0.1),
    grown("median latency, ms", ({ latencyP50Ms }) => latencyP50Ms, 1.25, 10),
  ];
}

function medianOf(values: readonly (number | null)[]): number {
  const numbers = values.filter((value) => value !== null);
  return numbers.length === 0 ? Number.NaN : median(numbers);
}

function leftNothing({ leftOver }: Soaked): Check[] {
  return [
    atMost("leases at rest", leftOver.leases, 0),
    atMost("requests in line at rest", leftOver.line, 0),
    atMost("requests that replicas run at rest", leftOver.running, 0),
    atMost("replicas missing at rest", leftOver.notReady, 0),
  ];
}

/** What an edge has lived through must not show. */
function likeFresh({ end, fresh }: Soaked): Check[] {
  const off = Object.entries(fresh.beliefMs).map(([name, freshMs]) => ({ name, ...addedOff(freshMs, end.beliefMs[name] ?? []) }));
  const worst = off.toSorted((one, other) => other.off - one.off)[0] ?? { name: "nobody", tokens: 0, off: Number.NaN };
  return [
    atMost(`belief at the end / of a fresh edge, times off, worst (${worst.tokens} tokens on ${worst.name})`, worst.off, 1.5),
    atMost(
      `CPU a request at the end, ms (fresh ${fresh.cpuMsPerRequest})`,
      end.cpuMsPerRequest,
      round(1.2 * fresh.cpuMsPerRequest + 0.1, 3),
    ),
    atMost(`median latency at the end, ms (fresh ${fresh.latencyP50Ms})`, end.latencyP50Ms, round(1.2 * fresh.latencyP50Ms + 5)),
    // A full index is 40 MiB, in memory and while a checkpoint copies it; what a young heap has not grown to is as much again.
    atMost(`RSS at the end, MiB (fresh ${fresh.rssMib})`, end.rssMib, round(1.25 * fresh.rssMib + 96)),
  ];
}

function realWell({ real }: Soaked): Check[] {
  return [
    atMost("real engines: refused or failed", real.refused + real.failed, 0),
    atMost("real engines: prediction / actual, times off, median", known(real.predictions).offP50, OFF_P50),
    atMost("real engines: prediction / actual, times off, p99", known(real.predictions).offP99, OFF_P99),
  ];
}
