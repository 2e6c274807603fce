/** One piece of the comparison that a thread can do alone, and what comes of it. Plain values: they cross threads. */
import { readFileSync } from "node:fs";
import { baseline, isPeerName } from "../../../simulator/peers/peers.ts";
import { streamOf } from "../../../simulator/chance.ts";
import { type EngineConstants, ENGINES, type EngineName, scaled } from "../../../simulator/constants.ts";
import { paced, type Plan } from "../../../simulator/plan.ts";
import { steadyStart } from "../../../simulator/steady-start.ts";
import { saturation } from "../../../simulator/saturation.ts";
import { DEFAULTS, type RunResult, simulate, type SimulationOptions } from "../../../simulator/simulate.ts";
import { sloCapacity, type SloCapacity } from "../../../simulator/slo-capacity.ts";
import { parseTrace } from "../../../simulator/trace.ts";
import { OTHER_WORKLOADS, type WorkloadName, WORKLOADS } from "../../../simulator/workload.ts";

/** "trace": Mooncake's conversation trace, a part of it. */
export type Asked = WorkloadName | "trace";

export interface Fleet {
  workload: Asked;
  engine: EngineName;
  /** What the engine's times are multiplied with. */
  constants: number;
  /** Of the engine's KV cache, what is there. */
  kvShare: number;
  requests: number;
  /** Generators as they were tuned on; else in their other shapes. */
  tuning: boolean;
  seed: number;
  /** File of the trace, and the requests of it to leave out. */
  trace: { file: string; skip: number };
}

export type Task = Fleet &
  (
    | { what: "saturation" }
    /** `policy`: a baseline's name, "warmpath" or "warmpath-elastic"; `options`: what differs from a plain fleet. */
    | { what: "run"; policy: string; ratePerSecond: number; options: RunOptions }
    | { what: "capacity"; policy: string; lowestPerSecond: number; highestPerSecond: number }
  );

/** `turnover`: when, as a share of the time in which requests or sessions begin. */
export interface RunOptions extends Partial<Omit<SimulationOptions, "engine" | "turnover">> {
  turnover?: readonly { atShare: number; replica: number; change: "join" | "leave" }[];
}

export type Outcome =
  | { what: "saturation"; ratePerSecond: number }
  | { what: "run"; run: Omit<RunResult, "endTimes"> }
  | { what: "capacity"; capacity: SloCapacity };

/** Of a generated workload's own stream; its saturation is measured on another plan, of many sessions. */
const RUN_STREAM = 7;
const SATURATION_STREAM = 8;
const SATURATION_REQUESTS = 30_000;

const plans = new Map<string, Plan>();

function planOf({ workload, seed, trace, tuning, ...task }: Task): Plan {
  const [stream, requests] = task.what === "saturation" ? [SATURATION_STREAM, SATURATION_REQUESTS] : [RUN_STREAM, task.requests];
  const key = `${workload} ${requests} ${seed} ${stream}`;
  const known = plans.get(key);
  if (known !== undefined) return known;
  const plan =
    workload === "trace"
      ? traced(trace, task.requests)
      : (tuning ? WORKLOADS : OTHER_WORKLOADS)[workload](streamOf(seed, stream), requests);
  // One at a time: a plan of many requests takes some 100 MB.
  plans.clear();
  plans.set(key, plan);
  return plan;
}

function traced({ file, skip }: Fleet["trace"], requests: number): Plan {
  const lines = readFileSync(file, "utf8").split("\n").slice(skip);
  const first = Number((JSON.parse(lines[0] ?? "{}") as { timestamp?: number }).timestamp ?? 0);
  const outcome = parseTrace(lines.join("\n"), "conversation", requests);
  if (outcome.kind === "invalid") throw new Error(`${file}, line ${skip + outcome.line}: ${outcome.reason}`);
  const { plan } = outcome;
  return { ...plan, requests: plan.requests.map((request) => ({ ...request, at: (request.at ?? 0) - first })) };
}

export function perform(task: Task): Outcome {
  const plan = planOf(task);
  const engine = withKv(scaled(ENGINES[task.engine], task.constants), task.kvShare);
  const plain: SimulationOptions = { ...DEFAULTS, engine, seed: task.seed };
  if (task.what === "saturation") return { what: "saturation", ratePerSecond: saturation(plan, plain) };
  if (task.what === "run") return { what: "run", run: runOf(plan, task.policy, task.ratePerSecond, plain, task.options) };
  const { lowestPerSecond, highestPerSecond, policy } = task;
  const search = { lowestPerSecond, highestPerSecond, maxRuns: 11, withinFactor: 1.02 };
  return { what: "capacity", capacity: sloCapacity((rate) => ({ goodShare: runOf(plan, policy, rate, plain).goodShare }), search) };
}

function withKv(engine: EngineConstants, share: number): EngineConstants {
  return { ...engine, kvTokens: Math.floor((share * engine.kvTokens) / engine.blockTokens) * engine.blockTokens };
}

function runOf(
  plan: Plan,
  policy: string,
  ratePerSecond: number,
  plain: SimulationOptions,
  { turnover = [], ...options }: RunOptions = {},
): Omit<RunResult, "endTimes"> {
  const elastic = policy === "warmpath-elastic";
  const topology = elastic ? "elastic" : (options.topology ?? plain.topology);
  const begun = steadyStart(paced(plan, ratePerSecond));
  const spanMs = begun.requests.reduce((most, { at }) => Math.max(most, at ?? 0), 0);
  const changes = turnover.map(({ atShare, ...change }) => ({ ...change, atMs: atShare * spanMs }));
  const chooser = isPeerName(policy)
    ? { kind: "policy" as const, policy: baseline(policy) }
    : { kind: "product" as const, profile: "cache-aware" as const };
  const { endTimes: _endTimes, ...run } = simulate(begun, chooser, { ...plain, ...options, turnover: changes, topology });
  return { ...run, policy };
}
