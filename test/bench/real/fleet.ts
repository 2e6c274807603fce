/** The simulator's fleet for replicas that share the cores of one machine: each step takes longer by how many compute when it begins. */
import { type ProfileName, PROFILES } from "../../../src/decision/profiles.ts";
import type { SimulatedRouter } from "../../../simulator/simulated-router.ts";
import { streamOf } from "../../../simulator/chance.ts";
import type { EngineConstants } from "../../../simulator/constants.ts";
import { Fleet } from "../../../simulator/fleet.ts";
import { type Measures, RunLog } from "../../../simulator/measures.ts";
import type { Plan } from "../../../simulator/plan.ts";
import { ProductRouter } from "../../../simulator/product-router.ts";
import { SimulatedReplica } from "../../../simulator/simulated-replica.ts";
import { Timeline } from "../../../simulator/timeline.ts";
import { type Calibration, slowdown } from "./calibrate.ts";

export interface Machine {
  replicas: number;
  /** Infinity: each replica has a machine of its own, as in the simulator. */
  cores: number;
  seed: number;
}

export interface Prediction {
  measures: Measures;
  /** Pulls that went as planned. */
  pulls: number;
}

/** Blocks may move, as the product decides: real replicas always can. */
export function predict(plan: Plan, profile: ProfileName, calibration: Calibration, { replicas, cores, seed }: Machine): Prediction {
  const { engine, coresEach, bookingMs, rttMs } = calibration;
  const timeline = new Timeline();
  const log = new RunLog(plan);
  const events = { delayMs: 0, loss: 0, announced: true };
  const router = new ProductRouter(
    { timeline, tree: plan.tree, events, draw: streamOf(seed, 101), edges: 1 },
    { profile: PROFILES[profile], remotePrefillTokens: null },
  );
  const working = watchWork(router);
  /** Of a replica, or of one that is not known yet (null). */
  const factor = (own: number | null): number => {
    const busy = working.size + (own !== null && working.has(own) ? 0 : 1);
    return slowdown(Math.min(replicas, busy), coresEach, cores);
  };
  const options = {
    bookingMs,
    // The machine's work, too; read when a request is placed.
    get rttMs() {
      return rttMs * factor(null);
    },
    patienceMs: null,
    tpotMs: null,
    sessionsAtOnce: null,
  };
  const fleet = new Fleet(timeline, plan, router, log, options, (number, epoch, listener) => {
    const place = { number, epoch, roles: ["prefill", "decode"] as const, transfers: true };
    const shared = slowed(engine, () => factor(number));
    // Nothing that was generated is used again by the embedded engine.
    return new SimulatedReplica(place, shared, plan.tree, { hostTokens: 0, reuseGenerated: false }, listener);
  });
  for (let number = 0; number < replicas; number++) fleet.join(number);
  fleet.begin();
  while (fleet.left > 0) if (!timeline.step()) throw new RangeError(`the simulation stands still with ${fleet.left} requests left`);
  return { measures: log.measures(), pulls: router.state.counters.transfersUsed };
}

/** Replicas with a request, by number, each with how many: from its placing to its end, as calibrate.ts counts them. */
function watchWork(router: SimulatedRouter): ReadonlyMap<number, number> {
  const working = new Map<number, number>();
  const count = (replica: number, change: number): void => {
    const requests = (working.get(replica) ?? 0) + change;
    if (requests > 0) working.set(replica, requests);
    else working.delete(replica);
  };
  const ask = router.ask.bind(router);
  const lease = router.lease.bind(router);
  router.ask = (question, answer) =>
    ask(question, (placement) => {
      if (placement.kind === "placed") count(placement.replica, 1);
      answer(placement);
    });
  router.lease = (replica, step) => {
    if (step.event === "settled") count(replica.number, -1);
    lease(replica, step);
  };
  return working;
}

/** The engine's constants as they are when a step is planned. */
function slowed(engine: EngineConstants, factor: () => number): EngineConstants {
  return {
    ...engine,
    get baseMs() {
      return engine.baseMs * factor();
    },
    get prefillMsPerToken() {
      return engine.prefillMsPerToken * factor();
    },
    get attentionMsPerPair() {
      return engine.attentionMsPerPair * factor();
    },
    get decodeMsPerSequence() {
      return engine.decodeMsPerSequence * factor();
    },
    get decodeMsPerContextToken() {
      return engine.decodeMsPerContextToken * factor();
    },
    get transferMsPerToken() {
      return engine.transferMsPerToken * factor();
    },
  };
}
