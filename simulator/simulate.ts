/** One run: a plan, a fleet, a router → measures. The same arguments give the same numbers on every machine. */
import { type ProfileName, PROFILES } from "../src/decision/profiles.ts";
import type { ExplainRecord } from "../src/explain/record.ts";
import type { Role } from "../src/pool/replica.ts";
import type { SimulatedRouter, RouterSetting } from "./simulated-router.ts";
import { PeerRouter } from "./peer-router.ts";
import { streamOf } from "./chance.ts";
import type { EngineConstants } from "./constants.ts";
import { Fleet } from "./fleet.ts";
import { type Measures, RunLog } from "./measures.ts";
import { type Plan, reuseCeiling } from "./plan.ts";
import type { PeerPolicy } from "./policy.ts";
import { ProductRouter } from "./product-router.ts";
import { RegionalRouter, type Regions } from "./regional-router.ts";
import { SimulatedReplica } from "./simulated-replica.ts";
import { Timeline } from "./timeline.ts";

/**
 * aggregated: every replica prefills and decodes, nothing moves. elastic: the same, but blocks may move as the product decides. disaggregated: a quarter
 * of them, at least one, only prefills.
 */
export const TOPOLOGIES = ["aggregated", "elastic", "disaggregated"] as const;
export type Topology = (typeof TOPOLOGIES)[number];

export interface SimulationOptions {
  engine: EngineConstants;
  replicas: number;
  seed: number;
  topology: Topology;
  /** Host memory of each replica for KV, tokens; 0: none. */
  hostTokens: number;
  reuseGenerated: boolean;
  /** From a change of what a replica holds to its being known. */
  eventDelayMs: number;
  /** Share of residency frames that are lost, 0 to 1. */
  eventLoss: number;
  /** False: replicas announce nothing that they hold. */
  announced: boolean;
  edges: number;
  /** To the decision and back. */
  bookingMs: number;
  rttMs: number;
  /** A client without a first token gives up after this many ms; null: never. */
  patienceMs: number | null;
  /** Clients say how often they want tokens, ms; null: they do not. Peers have no ear for it. */
  tpotMs: number | null;
  /** Number of sessions at once: the next begins when one ends. Null: each begins at its own time. */
  sessionsAtOnce: number | null;
  /** For the product: a pool in each region. Null: all is one region, as it always is for peers. */
  regions: Regions | null;
  /** Replicas that come and go. A leave loses what it held and ran; a join brings it back empty. */
  turnover: readonly { atMs: number; replica: number; change: "join" | "leave" }[];
}

export const DEFAULTS: Omit<SimulationOptions, "engine"> = {
  replicas: 8,
  seed: 1,
  topology: "aggregated",
  hostTokens: 0,
  reuseGenerated: true,
  eventDelayMs: 0,
  eventLoss: 0,
  announced: true,
  edges: 1,
  bookingMs: 0,
  rttMs: 0,
  patienceMs: null,
  tpotMs: null,
  sessionsAtOnce: null,
  regions: null,
  turnover: [],
};

/** Who chooses. */
export type Chooser = { kind: "policy"; policy: PeerPolicy } | { kind: "product"; profile: ProfileName };

export interface RunResult extends Measures {
  policy: string;
  workload: string;
  /** What a cache without bounds would have had, of all prompt tokens. */
  hitCeiling: number;
  preemptions: number;
  /** Mean time of a decision by the stopwatch that was given, in its unit; null without one. */
  decisionTime: number | null;
  /** When each completed request had ended, ms, ascending. */
  endTimes: Float64Array;
}

/** Things that happen in one run at most; a run that reaches it is broken. */
const MAX_HAPPENINGS = 200_000_000;

interface Watching {
  /** Called now and then with the share of requests that have ended. */
  progress?: (share: number) => void;
  /** Real time, to know how long decisions take. Nothing in the simulation depends on it. */
  stopwatch?: () => number;
  /** Called with each of the product's decisions; what came of it is filled in while the pool keeps it, as the run goes on. */
  decided?: ((record: ExplainRecord) => void) | undefined;
}

/** @param plan paced already: its times are ms. */
export function simulate(plan: Plan, chooser: Chooser, options: SimulationOptions, watching: Watching = {}): RunResult {
  const timeline = new Timeline();
  const log = new RunLog(plan);
  const router = routerOf(chooser, settingOf(plan, timeline, options), options, watching);
  const decisionTime = watching.stopwatch === undefined ? null : timed(router, watching.stopwatch);
  const { engine, hostTokens, reuseGenerated, replicas, topology } = options;
  const lives: SimulatedReplica[] = [];
  const fleet = new Fleet(timeline, plan, router, log, options, (number, epoch, listener) => {
    const place = { number, epoch, roles: roleOf(topology, number, replicas), transfers: topology !== "aggregated" };
    const replica = new SimulatedReplica(place, engine, plan.tree, { hostTokens, reuseGenerated }, listener);
    lives.push(replica);
    return replica;
  });
  for (let number = 0; number < replicas; number++) fleet.join(number);
  for (const { atMs, replica, change } of options.turnover) timeline.at(atMs, () => fleet[change](replica));
  fleet.begin();
  run(timeline, fleet, plan.requests.length, watching);
  return {
    policy: router.name,
    workload: plan.name,
    ...log.measures(),
    hitCeiling: reuseCeiling(plan, engine.blockTokens, reuseGenerated),
    preemptions: lives.reduce((sum, life) => sum + life.engine.preemptions, 0),
    decisionTime: decisionTime === null ? null : decisionTime(),
    endTimes: log.endTimes(),
  };
}

function run(timeline: Timeline, fleet: Fleet, requests: number, { progress }: Watching): void {
  for (let happened = 0; fleet.left > 0; happened++) {
    if (!timeline.step() || happened >= MAX_HAPPENINGS)
      throw new RangeError(`the simulation stands still at ${timeline.nowMs} ms with ${fleet.left} requests left`);
    if ((happened & 4_095) === 0) progress?.(1 - fleet.left / requests);
  }
}

/** Measures every question to the router, until it is answered or waits; the mean so far. */
function timed(router: SimulatedRouter, stopwatch: () => number): () => number {
  const ask = router.ask.bind(router);
  let total = 0;
  let asked = 0;
  router.ask = (question, answer) => {
    const began = stopwatch();
    let answered = false;
    const stop = (): void => {
      if (!answered) total += stopwatch() - began;
      answered = true;
    };
    asked++;
    ask(question, (placement) => {
      stop();
      answer(placement);
    });
    stop();
  };
  return () => (asked === 0 ? 0 : total / asked);
}

function settingOf({ tree }: Plan, timeline: Timeline, options: SimulationOptions): RouterSetting {
  const { eventDelayMs: delayMs, eventLoss: loss, announced, seed, edges } = options;
  return { timeline, tree, events: { delayMs, loss, announced }, draw: streamOf(seed, 101), edges };
}

function routerOf(
  chooser: Chooser,
  setting: RouterSetting,
  { regions, replicas }: SimulationOptions,
  { decided }: Watching,
): SimulatedRouter {
  if (chooser.kind === "policy") return new PeerRouter(chooser.policy, setting);
  const product = { profile: PROFILES[chooser.profile], decided };
  return regions === null ? new ProductRouter(setting, product) : new RegionalRouter(setting, product, regions, replicas);
}

function roleOf(topology: Topology, number: number, replicas: number): readonly Role[] {
  if (topology !== "disaggregated") return ["prefill", "decode"];
  return number < Math.max(1, Math.floor(replicas / 4)) ? ["prefill"] : ["decode"];
}
