/** `warmpath simulate`: the product's own decisions and the peers' rules on simulated replicas, in virtual time. */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { performance } from "node:perf_hooks";
import type { ExplainRecord } from "../src/explain/record.ts";
import { baseline } from "../simulator/peers/peers.ts";
import { streamOf } from "../simulator/chance.ts";
import { ENGINES, scaled } from "../simulator/constants.ts";
import { paced, type Plan } from "../simulator/plan.ts";
import { saturation } from "../simulator/saturation.ts";
import { type Chooser, DEFAULTS, type RunResult, simulate, type SimulationOptions } from "../simulator/simulate.ts";
import { steadyStart } from "../simulator/steady-start.ts";
import { parseTrace, TRACE_FORMAT } from "../simulator/trace.ts";
import { WORKLOADS } from "../simulator/workload.ts";
import { appendLog } from "./decision-log.ts";
import { writeReport } from "./report/report.ts";
import { RunProgress, stderrScreen } from "./run-progress.ts";
import { DEFAULT_REQUESTS, parseSimulateOptions, type PolicyName, type SimulateOptions, USAGE } from "./simulate-options.ts";

/** Requests of the plan that a generated workload's saturation is measured with: many sessions, whatever the run itself has. */
const SATURATION_REQUESTS = 30_000;
/** Streams of chance; the saturation's plan is another than the one that is run. */
const RUN_STREAM = 7;
const SATURATION_STREAM = 8;

/** Everything of one run of the command, as it goes to JSON and to the report. */
export interface SimulationReport {
  options: SimulateOptions;
  engines: SimulationOptions["engine"][];
  cells: Cell[];
}

export interface Cell {
  workload: string;
  model: string;
  load: number;
  requestsPerSecond: number;
  saturationPerSecond: number;
  runs: (Omit<RunResult, "endTimes"> & { tookMs: number })[];
}

/** Exit code: 0, or 2 for options or a trace that cannot be used. */
export function main(args: string[]): number {
  try {
    const options = parseSimulateOptions(args);
    if (options === "help") console.log(USAGE);
    else report(options, new RunProgress(stepsOf(options), stderrScreen()));
    return 0;
  } catch (error) {
    if (!(error instanceof RangeError || error instanceof TypeError)) throw error;
    console.error(error.message);
    return 2;
  }
}

/** Each workload on each model: how much the fleet can do, then a run for each load and policy. */
function stepsOf({ trace, workloads, models, loads, policies }: SimulateOptions): number {
  return (workloads.length + Number(trace !== null)) * models.length * (1 + loads.length * policies.length);
}

function report(options: SimulateOptions, progress: RunProgress): void {
  const cells: Cell[] = [];
  if (options.log !== null) writeFileSync(options.log, "");
  for (const { plan, saturating } of plansOf(options)) {
    for (const model of options.models) {
      const simulation = simulationOf(scaled(ENGINES[model], options.constants), options);
      progress.begin(`${plan.name} on ${model}: how much the fleet can do`);
      const saturationPerSecond = saturation(saturating, simulation);
      progress.end();
      for (const load of options.loads) {
        const cell = cellOf(plan, { model, load, saturationPerSecond }, simulation, { options, progress });
        progress.clear();
        console.log(tableOf(cell));
        cells.push(cell);
      }
    }
  }
  const engines = options.models.map((model) => scaled(ENGINES[model], options.constants));
  const whole: SimulationReport = { options, engines, cells };
  if (options.json !== null) writeFileSync(options.json, `${JSON.stringify(whole, null, 1)}\n`);
  if (options.html !== null) writeFileSync(options.html, htmlOf(whole));
}

function htmlOf({ options, cells }: SimulationReport): string {
  const { replicas, seed, topology, hostTokens, edges, eventDelayMs, eventLoss, constants } = options;
  const rows = cells.flatMap(({ workload, model, load, runs }) =>
    runs.map(({ policy, goodShare: goodputShare, hitCeiling: ceilingHitShare, ...run }) => {
      const metrics = { ...run, goodputShare, ceilingHitShare };
      return { workload, model, load, constants, policy, metrics };
    }),
  );
  return writeReport({
    title: "Routing policies on simulated replicas",
    commit: commit(),
    date: new Date().toISOString().slice(0, 10),
    parameters: { replicas, seed, topology, hostTokens, edges, eventDelayMs, eventLoss, constants },
    cells: rows,
  });
}

/** Of the checkout it runs in; where there is none, that is said. */
function commit(): string {
  try {
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return "unknown";
  }
}

/** Each with the plan its saturation is measured with. */
function* plansOf({ trace, workloads, requests, seed }: SimulateOptions): Generator<{ plan: Plan; saturating: Plan }> {
  if (trace !== null) {
    const plan = readTrace(trace, requests);
    yield { plan, saturating: plan };
  }
  for (const name of workloads) {
    const count = requests ?? DEFAULT_REQUESTS;
    const saturating = WORKLOADS[name](streamOf(seed, SATURATION_STREAM), Math.max(count, SATURATION_REQUESTS));
    yield { plan: WORKLOADS[name](streamOf(seed, RUN_STREAM), count), saturating };
  }
}

function readTrace(file: string, requests: number | null): Plan {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new RangeError(`--trace: ${file} cannot be read (${error instanceof Error ? error.message : String(error)}).`, { cause: error });
  }
  const parsed = parseTrace(text, basename(file).replace(/\.jsonl$/, ""), requests ?? undefined);
  if (parsed.kind === "invalid")
    throw new RangeError(`--trace: line ${parsed.line} of ${file} cannot be used: ${parsed.reason}.\n${TRACE_FORMAT}`);
  return parsed.plan;
}

function cellOf(
  plan: Plan,
  { model, load, saturationPerSecond }: { model: string; load: number; saturationPerSecond: number },
  simulation: SimulationOptions,
  { options, progress }: { options: SimulateOptions; progress: RunProgress },
): Cell {
  const requestsPerSecond = saturationPerSecond * load;
  const timed = steadyStart(paced(plan, requestsPerSecond));
  const runs = options.policies.map((name) => {
    const startedAtMs = performance.now();
    const records: ExplainRecord[] = [];
    const { log } = options;
    progress.begin(`${plan.name}, load ${load}, ${labelOf(name)}`);
    const { endTimes: _, ...result } = simulate(timed, chooserOf(name), simulation, {
      stopwatch: () => 1_000 * performance.now(),
      decided: log === null ? undefined : (record) => records.push(record),
      progress: (share) => {
        const perSecond = (share * timed.requests.length * 1_000) / (performance.now() - startedAtMs);
        progress.at(share, `${Math.round(perSecond)} requests/s`);
      },
    });
    if (log !== null) appendLog(log, records);
    progress.end();
    return { ...result, tookMs: Math.round(performance.now() - startedAtMs) };
  });
  return { workload: plan.name, model, load, requestsPerSecond, saturationPerSecond, runs };
}

function simulationOf(engine: SimulationOptions["engine"], options: SimulateOptions): SimulationOptions {
  const {
    replicas,
    seed,
    topology,
    hostTokens,
    eventDelayMs,
    eventLoss,
    announced,
    edges,
    bookingMs,
    rttMs,
    patienceMs,
    tpotMs,
    regions,
    lose,
  } = options;
  const turnover =
    lose === null
      ? []
      : ([
          { atMs: lose.atMs, replica: 0, change: "leave" },
          { atMs: lose.atMs + lose.forMs, replica: 0, change: "join" },
        ] as const);
  const events = { eventDelayMs, eventLoss, announced };
  return {
    ...DEFAULTS,
    engine,
    replicas,
    seed,
    topology,
    hostTokens,
    ...events,
    edges,
    bookingMs,
    rttMs,
    patienceMs,
    tpotMs,
    regions,
    turnover,
  };
}

function chooserOf(name: PolicyName): Chooser {
  return name.kind === "product" ? name : { kind: "policy", policy: baseline(name.name) };
}

function labelOf(name: PolicyName): string {
  return name.kind === "product" ? "warmpath" : name.name;
}

const COLUMNS: readonly [string, (run: Cell["runs"][number]) => string][] = [
  ["policy", (run) => run.policy],
  ["TTFT ms", (run) => run.ttftMeanMs.toFixed(0)],
  ["p50", (run) => run.ttftP50Ms.toFixed(0)],
  ["p99", (run) => run.ttftP99Ms.toFixed(0)],
  ["TPOT ms", (run) => run.tpotMeanMs.toFixed(1)],
  ["p99", (run) => run.tpotP99Ms.toFixed(1)],
  ["E2E s", (run) => (run.e2eMeanMs / 1_000).toFixed(2)],
  ["p99", (run) => (run.e2eP99Ms / 1_000).toFixed(1)],
  ["good %", (run) => (100 * run.goodShare).toFixed(1)],
  ["good/s", (run) => run.goodPerSecond.toFixed(2)],
  ["hit %", (run) => (100 * run.hitShare).toFixed(1)],
  ["refused", (run) => String(run.refused + run.cancelled)],
  ["retried", (run) => String(run.retried)],
  ["queue", (run) => String(run.mostWaiting)],
  ["µs", (run) => (run.decisionTime ?? 0).toFixed(0)],
  ["took s", (run) => (run.tookMs / 1_000).toFixed(1)],
];

function tableOf({ workload, model, load, requestsPerSecond, saturationPerSecond, runs }: Cell): string {
  const rows = [COLUMNS.map(([title]) => title), ...runs.map((run) => COLUMNS.map(([, value]) => value(run)))];
  const widths = COLUMNS.map((_, at) => Math.max(...rows.map((row) => row[at]?.length ?? 0)));
  const lines = rows.map((row) =>
    row.map((text, at) => (at === 0 ? text.padEnd(widths[at] ?? 0) : text.padStart(widths[at] ?? 0))).join("  "),
  );
  const [first] = runs;
  const rates = `${requestsPerSecond.toFixed(2)} requests/s (came: ${(first?.requestsPerSecond ?? 0).toFixed(2)}), load ${load} of ${saturationPerSecond.toFixed(2)}`;
  const reuse = `${(100 * (first?.hitCeiling ?? 0)).toFixed(1)} % of prompt tokens could be reused`;
  return [`${workload} on ${model}: ${first?.requests ?? 0} requests measured, ${rates}; ${reuse}`, ...lines, ""].join("\n");
}
