/**
 * The soak's long half: bare workerd and mock replicas that behave like real ones, hundreds of thousands of requests while replicas, sockets and the
 * edge itself die; then real engines in the same pool; then a fresh edge to compare with. Writes `soak-long.json`.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { writeResult } from "../result.ts";
import { round } from "../tiers/figures.ts";
import { type Belief, beliefOf, LENGTHS, type Return, returnOf } from "./beliefs.ts";
import type { Check } from "./check.ts";
import { makeBundle, SoakEdge } from "./edge-process.ts";
import { MockFleet } from "./fleet.ts";
import { Load } from "./load.ts";
import { groupsOf, type Predicted, predictedOf, recordsOf, summaryOf, timesOff } from "./predictions.ts";
import { paced, phaseAt, PHASES } from "./prompts.ts";
import { type Probed, probe } from "./probe.ts";
import { nothingReal, type Real, realRequests } from "./real-requests.ts";
import { Relay } from "./relay.ts";
import { ARCHIVED_SEGMENTS, Storm } from "./storm.ts";
import { FLEET_TRUTH } from "./truth.ts";
import { machineKeptUp, verdictsOf } from "./verdicts.ts";
import { gaugesOf, lineOf, Windows } from "./windows.ts";

export interface LongOptions {
  /** To the mock replicas. */
  requests: number;
  /** To the real ones. */
  realRequests: number;
  /** Times the usual rates, for trials on a busy machine. */
  pace: number;
}

/** What a whole run sends. */
export const WHOLE = { requests: 300_000, realRequests: 2_000 };
const WINDOWS = 30;
const SAMPLES = 150;
/** In a short trial samples would be most of what the edge does. */
const LEAST_BETWEEN_SAMPLES = 500;
const SAMPLE_RECORDS = 300;
/** Requests for each burst: two of a hundred come in one. */
const BURST_EVERY = 10_000;
/** Of the requests, but enough to learn from. */
const PROBE = { share: 1 / 100, least: 600 };
const REST_MS = 15_000;
const POLL_MS = 100;
const MOST_FAR_OFF = 150;
/** What an edge has lived through before it counts as warm and young. */
const YOUTH_REQUESTS = 10_000;
/** Of the fresh fleet, as at the storm's end. */
const ARCHIVED_ON = [1, 3];
const FILL_MS = 120_000;

interface Watched {
  edge: SoakEdge;
  fleet: MockFleet;
  load: Load;
  storm: Storm;
  requests: number;
}

/** A prediction that was far off, and what had been done to the fleet before it was decided. */
interface FarOff extends Predicted {
  off: number;
  sinceDisturbedMs: number;
}

/** Reads records, closes windows, until `ended`. */
class Watch {
  readonly windows: Windows;
  readonly predicted: Predicted[] = [];
  /** Of these, those of windows in which the machine kept up. */
  readonly keptUp: Predicted[] = [];
  readonly beliefs: Belief[] = [];
  /** The worst, worst first. */
  farOff: FarOff[] = [];
  indexWasFull = false;
  readonly #watched: Watched;
  #windowFrom = 0;
  #lookedAtMs = Date.now();
  #belief: Belief | null = null;

  constructor(watched: Watched) {
    this.#watched = watched;
    this.windows = new Windows(watched.edge, watched.load);
  }

  async until(played: Promise<void>): Promise<void> {
    const { load, requests } = this.#watched;
    let ended = false;
    const end = played.finally(() => (ended = true));
    const sampleEvery = Math.max(LEAST_BETWEEN_SAMPLES, requests / SAMPLES);
    let [nextSample, nextWindow] = [sampleEvery, requests / WINDOWS];
    while (!ended) {
      await Promise.race([sleep(POLL_MS), end]);
      const { sent } = load.counts;
      if (sent >= nextSample) {
        nextSample = sent + sampleEvery;
        await this.#sample(sent);
      }
      if (sent >= nextWindow) {
        nextWindow = sent + requests / WINDOWS;
        await this.#close();
      }
    }
    await end;
    if (load.counts.sent > (this.windows.all.at(-1)?.request ?? 0)) await this.#close();
  }

  async #sample(sent: number): Promise<void> {
    const { edge, fleet, storm } = this.#watched;
    const nowMs = Date.now();
    const records = await recordsOf(edge, SAMPLE_RECORDS);
    const newest = records.at(-1);
    if (newest === undefined) return;
    // What an earlier life of the edge decided was answered by nobody.
    const fromMs = Math.max(this.#lookedAtMs, edge.startedAtMs);
    const fresh = records.filter(({ record }) => record.decidedAtMs > fromMs && record.decidedAtMs < nowMs - 1_500);
    this.#lookedAtMs = Math.max(this.#lookedAtMs, ...fresh.map(({ record }) => record.decidedAtMs));
    const predicted = predictedOf(fresh, nowMs, storm.disturbedAtMs);
    this.predicted.push(...predicted);
    this.#keepFarOff(predicted);
    const belief = beliefOf(newest, sent, edge, fleet);
    if (belief !== null) this.beliefs.push((this.#belief = belief));
  }

  #keepFarOff(predicted: readonly Predicted[]): void {
    const { storm } = this.#watched;
    const all = predicted.map((one): FarOff => ({
      ...one,
      off: round(timesOff(one.predictedMs, one.actualMs), 2),
      sinceDisturbedMs: Math.round(one.decidedAtMs - storm.disturbedBeforeMs(one.decidedAtMs)),
    }));
    this.farOff = [...this.farOff, ...all].sort((one, other) => other.off - one.off).slice(0, MOST_FAR_OFF);
  }

  async #close(): Promise<void> {
    const { load, fleet, requests } = this.#watched;
    const fresh = this.predicted.slice(this.#windowFrom);
    const summary = summaryOf(fresh);
    this.#windowFrom = this.predicted.length;
    const middle = (load.counts.sent - requests / WINDOWS / 2) / requests;
    const window = await this.windows.close(phaseAt(middle).name, await fleet.lag(), summary, this.#belief);
    this.#belief = null;
    if (machineKeptUp(window)) this.keptUp.push(...fresh);
    this.indexWasFull ||= (window.gauges.indexEvicted ?? 0) > 0;
    console.log(lineOf(window));
  }
}

/** What is still held when nothing is asked any more. */
async function atRest(edge: SoakEdge, fleet: MockFleet): Promise<{ leases: number; line: number; running: number; notReady: number }> {
  const wanted = FLEET_TRUTH.length;
  for (const untilMs = performance.now() + REST_MS; ; await sleep(500)) {
    const { leases, line, ready } = await gaugesOf(edge);
    const running = (await fleet.states()).reduce((sum, state) => sum + (state?.running ?? 0), 0);
    const left = { leases: leases ?? Infinity, line: line ?? Infinity, running, notReady: wanted - (ready ?? 0) };
    if (Object.values(left).every((value) => value === 0) || performance.now() > untilMs) return left;
  }
}

async function soak(edge: SoakEdge, { requests, pace }: LongOptions) {
  const relay = await Relay.start(edge.port);
  const fleet = new MockFleet(edge, relay, 1);
  const returns: Promise<Return | null>[] = [];
  const watchReturn = (replica: number) => {
    const joinedAtMs = Date.now();
    return async () => void returns.push(returnOf(replica, joinedAtMs, edge));
  };
  const storm = new Storm({ edge, fleet, relay, watchReturn }, requests);
  const load = new Load(edge, { seed: 31, onSent: (sent) => storm.reached(sent), isQuiet: () => storm.isQuiet });
  try {
    await fleet.startAll();
    const watch = new Watch({ edge, fleet, load, storm, requests });
    await watch.until(load.play(requests, (share) => paced(phaseAt(share), pace), Math.floor(requests / BURST_EVERY)));
    await storm.over();
    const late = await Promise.all(returns);
    const leftOver = await atRest(edge, fleet);
    const end = await probe(edge, probeRequests(requests), pace);
    return { watch, load, storm, fleet, returns: late, leftOver, end };
  } finally {
    load.end();
    fleet.killAll();
    relay.end();
  }
}

/** A new edge and a new fleet with the same truth, an index as full, and a youth of the same load. */
async function freshProbe(bundle: string, requests: number, pace: number): Promise<Probed> {
  const edge = await SoakEdge.start(bundle);
  const relay = await Relay.start(edge.port);
  const fleet = new MockFleet(edge, relay, 1_000);
  let load: Load | null = null;
  try {
    await fleet.startAll();
    await fillIndex(edge, fleet);
    load = new Load(edge, { seed: 32, onSent: () => undefined, isQuiet: () => true });
    await load.play(Math.min(YOUTH_REQUESTS, requests * 10), () => paced(phaseAt(0), pace), 1);
    return await probe(edge, requests, pace);
  } finally {
    load?.end();
    fleet.killAll();
    relay.end();
    await edge.end();
  }
}

/** Until it gives entries up; or it is as full as it gets. */
async function fillIndex(edge: SoakEdge, fleet: MockFleet): Promise<void> {
  await Promise.all(ARCHIVED_ON.map((replica) => fleet.archive(replica, ARCHIVED_SEGMENTS)));
  for (const untilMs = performance.now() + FILL_MS; performance.now() < untilMs; await sleep(500))
    if (((await gaugesOf(edge)).indexEvicted ?? 0) > 0) return;
}

const probeRequests = (requests: number): number => Math.max(PROBE.least, Math.round(PROBE.share * requests));

/** One check a verdict. */
export async function longHalf(options: LongOptions): Promise<Check[]> {
  const { requests, realRequests: real, pace } = options;
  const bundle = await makeBundle();
  const edge = await SoakEdge.start(bundle.path);
  let soaked: Awaited<ReturnType<typeof soak>>;
  let told: Real;
  try {
    soaked = await soak(edge, options);
    console.log(`real engines, ${real} requests`);
    told = await realRequests(edge, real).catch((error: unknown) => nothingReal(real, String(error)));
  } finally {
    await edge.end();
  }
  console.log("a fresh edge");
  const fresh = await freshProbe(bundle.path, probeRequests(requests), pace).finally(() => bundle.remove());
  const { watch, load, storm, fleet, returns, leftOver, end } = soaked;
  const { predicted, keptUp, beliefs, indexWasFull } = watch;
  const windows = watch.windows.all;
  const predictions = summaryOf(predicted);
  const foretold = summaryOf(predicted, ({ foretoldMs }) => foretoldMs);
  const { counts } = load;
  const checks = verdictsOf({
    requests,
    counts,
    windows,
    predictions,
    foretold,
    beliefs,
    returns,
    indexWasFull,
    leftOver,
    end,
    real: told,
    fresh,
  });
  const isWhole = requests >= WHOLE.requests && real >= WHOLE.realRequests;
  const parameters = {
    run: isWhole
      ? "whole"
      : `a part: ${requests} of ${WHOLE.requests} requests to mock replicas, ${real} of ${WHOLE.realRequests} to real ones`,
    requests,
    realRequests: real,
    pace,
    fleet: FLEET_TRUTH,
    phases: PHASES,
    lengths: LENGTHS,
    minutes: round((windows.at(-1)?.seconds ?? 0) / 60),
    outcomes: counts,
    messages: Object.fromEntries(load.messages),
    deaths: fleet.deaths,
    happened: storm.happened,
    predictions,
    foretold,
    whileTheMachineKeptUp: summaryOf(keptUp),
    groups: groupsOf(predicted),
    worstBelief: beliefs.toSorted((one, other) => other.seenOff - one.seenOff)[0] ?? null,
    returns,
    farOff: watch.farOff,
    end,
    fresh,
    real: told,
    checks,
  };
  console.log(writeResult("soak-long", parameters, windows));
  return checks;
}
