/**
 * What the edge costs: bare workerd between a load generator and replicas that answer at once.
 *   npm run bench:edge -- [--quick] [--smg PATH_TO_SMG] [--only grid|apis|events|memory|decide|profile] [--out FILE]
 *   npm run bench:edge -- --base COMMIT [--rounds 8] [--smg PATH_TO_SMG]: beside another commit, kept as results/edge-against.json
 * Machines differ and are shared: compare the arms of one run with each other.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { against } from "./edge/against.ts";
import { type Arm, endArms, startEdge, startPassthrough, startSmg } from "./edge/arms.ts";
import { endChildren } from "./edge/child.ts";
import { decideBench } from "./edge/decide.ts";
import { eventRates, memory } from "./edge/flow.ts";
import { apis, grid, SIZES } from "./edge/grid.ts";
import { profile } from "./edge/profile.ts";
import { holdPrefixes, joinReplicas, type Load, startLoad, startMock } from "./edge/setup.ts";
import { verdicts } from "./edge/verdicts.ts";
import { writeResult } from "./result.ts";

const REPLICAS = 4;
const PARTS = ["grid", "apis", "events", "memory", "decide", "profile"] as const;
type PartName = (typeof PARTS)[number];

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    smg: { type: "string" },
    only: { type: "string" },
    out: { type: "string" },
    base: { type: "string" },
    rounds: { type: "string", default: "8" },
  },
});
const { quick } = options;
if (options.only !== undefined && !(PARTS as readonly string[]).includes(options.only)) {
  process.stderr.write(`--only must be one of ${PARTS.join(", ")}\n`);
  process.exit(2);
}
const wants = (part: PartName): boolean => options.only === undefined || options.only === part;

function about() {
  const require = createRequire(import.meta.url);
  const { version } = require("workerd/package.json") as { version: string };
  const git = (...args: string[]): string =>
    execFileSync("git", args, { cwd: import.meta.dirname })
      .toString()
      .trim();
  return {
    commit: git("rev-parse", "HEAD"),
    changed: git("status", "--porcelain", "--", "../../src", "../../workers") !== "",
    date: new Date().toISOString(),
    cpus: `${cpus().length} × ${cpus()[0]?.model ?? "?"}`,
    node: process.version,
    workerd: version,
    smg: options.smg ?? null,
    quick,
  };
}

async function throughArms(load: Load) {
  const edge = await startEdge();
  const { mock, ports } = await startMock(REPLICAS);
  const port = ports[0] ?? 0;
  await joinReplicas(edge, mock, ports, REPLICAS);
  await holdPrefixes(edge, mock, SIZES, REPLICAS);
  const direct: Arm = { name: "direct", origin: `http://127.0.0.1:${port}`, headers: {}, pid: null };
  const arms: Arm[] = [direct, await startPassthrough(port), edge];
  if (options.smg !== undefined) arms.push(await startSmg(options.smg, ports));
  const told = {
    grid: wants("grid") ? await grid(load, arms, quick) : null,
    apis: wants("apis") ? await apis(load, edge, quick) : null,
    events: wants("events") ? await eventRates(load, mock, arms, quick) : null,
    memory: wants("memory") ? await memory(load, arms, quick) : null,
  };
  mock.end();
  await edge.end();
  return told;
}

async function run(): Promise<void> {
  const load = startLoad();
  const flows = ["grid", "apis", "events", "memory"].some((part) => wants(part as PartName))
    ? await throughArms(load)
    : { grid: null, apis: null, events: null, memory: null };
  const decide = wants("decide") ? await decideBench(quick) : null;
  const profiles = wants("profile") ? await profile(load, quick) : null;
  const result = { ...about(), ...flows, decide, profiles };
  const judged = verdicts(result);
  for (const { name, figure, aim, met } of judged) process.stdout.write(`${met ? "met   " : "MISSED"} ${name}: ${figure} (aim: ${aim})\n`);
  // A part of a run, or a short one, does not replace the kept figures.
  const kept = options.only === undefined && !quick ? join(import.meta.dirname, "results/edge.json") : undefined;
  const out = options.out ?? kept;
  if (out === undefined) return;
  mkdirSync(dirname(out), { recursive: true });
  writeFileSync(out, `${JSON.stringify({ ...result, verdicts: judged }, null, 2)}\n`);
  process.stdout.write(`written to ${out}\n`);
}

async function runAgainst(base: string): Promise<void> {
  const rounds = Number(options.rounds);
  const rows = await against(startLoad(), rounds, base, options.smg);
  const baseCommit = execFileSync("git", ["rev-parse", base], { cwd: import.meta.dirname, encoding: "utf8" }).trim();
  if (!quick)
    process.stdout.write(`written to ${writeResult("edge-against", { rounds, baseCommit, concurrency: 16 }, rows)}
`);
}

for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(130));
process.on("exit", () => {
  endChildren();
  endArms();
});
if (options.base === undefined) await run();
else await runAgainst(options.base);
process.exit(0);
