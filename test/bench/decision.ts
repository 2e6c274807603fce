/**
 * The decision against the peers' policies, in simulation: every cell of the report, with seeds and requests that nothing was tuned on.
 *   node test/bench/decision.ts [--part cells|constants|contended|capacity|disaggregation|robustness|report]... [--threads N] [--requests N] [--trace FILE]
 *                               [--tuning] [--policies a,b] [--workloads a,b] [--loads 0.9] [--engines a]
 * `--troubles "events 5 s late"` makes these rows of the robustness part again (`regions`: three regions), and leaves the others as they are.
 * `--tuning` uses other seeds and the other half of the trace, prints, and keeps nothing.
 */
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { ENGINES, type EngineName } from "../../simulator/constants.ts";
import { capacityPart } from "./decision/capacity.ts";
import { cellsPart } from "./decision/cells.ts";
import { disaggregationPart } from "./decision/disaggregation.ts";
import { reportPart } from "./decision/report.ts";
import { robustnessPart } from "./decision/robustness.ts";
import type { Asked } from "./decision/task.ts";
import type { Bench } from "./decision/bench.ts";

const CONTENDED_KV_SHARE = 0.3;

const PARTS = {
  cells: (bench: Bench) => cellsPart(bench, "decision-cells", [1]),
  constants: (bench: Bench) => cellsPart(bench, "decision-constants", [0.5, 2]),
  /** Sessions whose contexts do not fit the fleet's KV together. */
  contended: (bench: Bench) => cellsPart({ ...bench, workloads: ["agent"], loads: [0.9] }, "decision-contended", [1], CONTENDED_KV_SHARE),
  capacity: capacityPart,
  disaggregation: disaggregationPart,
  robustness: robustnessPart,
  report: reportPart,
} as const;

const { values } = parseArgs({
  options: {
    part: { type: "string", multiple: true, default: Object.keys(PARTS) },
    threads: { type: "string", default: String(availableParallelism()) },
    requests: { type: "string", default: "6000" },
    trace: { type: "string", default: "../shared/traces/conversation_trace.jsonl" },
    tuning: { type: "boolean", default: false },
    policies: { type: "string" },
    workloads: { type: "string", default: "trace,agent,reasoning,burst,shared-prefix" },
    loads: { type: "string", default: "0.5,0.7,0.9" },
    engines: { type: "string", default: Object.keys(ENGINES).join(",") },
    troubles: { type: "string" },
  },
});

/** Of the trace's 12,031 requests the first half is for tuning, the second for the report. */
const TRACE_HALF = 6_000;
const SEEDS = { tuning: 3, reported: 2_026 };

const workloads = (values.workloads.split(",") as Asked[]).filter((workload) => workload !== "trace" || existsSync(values.trace));
if (workloads.length < values.workloads.split(",").length)
  process.stderr.write(`${values.trace} is not here: the conversation cells are left out\n`);
const bench: Bench = {
  workloads,
  engines: values.engines.split(",") as EngineName[],
  loads: values.loads.split(",").map(Number),
  policies: values.policies?.split(",") ?? null,
  threads: Number(values.threads),
  requests: Number(values.requests),
  seed: values.tuning ? SEEDS.tuning : SEEDS.reported,
  trace: { file: values.trace, skip: values.tuning ? 0 : TRACE_HALF },
  troubles: values.troubles?.split(",") ?? null,
  keeps: !values.tuning,
};
for (const part of values.part) {
  if (!Object.hasOwn(PARTS, part)) throw new Error(`There is no part ${part}; there are ${Object.keys(PARTS).join(", ")}.`);
  process.stderr.write(`${part}\n`);
  await PARTS[part as keyof typeof PARTS](bench);
}
