/** The kept results of the comparison as one page: test/bench/results/decision.html. Runs nothing. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type CapacityRow, type GeomeanRow, type Report, type RobustnessRow, writeReport } from "../../../cli/report/report.ts";
import { type Cell, cellsLost, geomeansAgainstPeers, ratiosToBestPeer } from "../../../simulator/comparison.ts";
import type { Result } from "../result.ts";
import { PRODUCT } from "./bench.ts";

const RESULTS = join(import.meta.dirname, "../results");

/** Aimed at against each peer: mean and p99 time to the first token, time per token. */
const AIMS: Readonly<Record<string, readonly [number, number, number]>> = {
  "dynamo-linear": [0.55, 0.6, 0.8],
  "smg-cache-aware": [0.8, 0.7, 1.02],
  "llm-d": [0.9, 0.9, 0.97],
  lmetric: [0.9, 0.95, 0.95],
  loadaware: [0.8, 0.75, 1.03],
  "round-robin": [0.1, 0.1, 0.55],
};

interface Trouble {
  trouble: string;
  workload: string;
  engine: string;
  ratio: number;
  times?: number;
  moreMs?: number;
  least?: number;
  ttftMeanMs?: number;
  untroubledMs?: number;
  met: boolean;
}

export function reportPart(): Promise<void> {
  const kept = read<{ cells?: Cell[] }>("decision-cells");
  const cells = [...kept.rows, ...read<{ cells?: Cell[] }>("decision-constants").rows].flatMap(({ cells: some = [] }) => some);
  const capacities = read<{ rows?: (CapacityRow & { engine: string })[] }>("decision-capacity").rows;
  const report: Report = {
    title: "Where requests go: Warmpath against its peers' policies, simulated",
    commit: kept.commit.slice(0, 12),
    date: kept.date.slice(0, 10),
    parameters: parametersOf(kept.parameters),
    cells,
    ours: PRODUCT,
    geomeans: geomeansAgainstPeers(cells, PRODUCT).map(withAims),
    robustness: read<Trouble>("decision-robustness").rows.map(robustnessOf),
    capacities: capacities.flatMap(({ rows = [] }) => rows.map(({ engine: model, ...row }) => ({ ...row, model }))),
    lost: cellsLost(ratiosToBestPeer(cells, PRODUCT)),
  };
  const file = join(RESULTS, "decision.html");
  writeFileSync(file, writeReport(report));
  process.stderr.write(`written to ${file}\n`);
  return Promise.resolve();
}

function read<Row>(name: string): Result<Row> {
  return JSON.parse(readFileSync(join(RESULTS, `${name}.json`), "utf8")) as Result<Row>;
}

function parametersOf(parameters: Record<string, unknown>): Record<string, string | number> {
  return Object.fromEntries(
    Object.entries(parameters).map(([name, value]) => [
      name,
      typeof value === "number" ? value : Array.isArray(value) ? value.join(", ") : String(value),
    ]),
  );
}

function withAims(row: GeomeanRow): GeomeanRow {
  const aims = AIMS[row.peer];
  if (aims === undefined) return row;
  const [ttftMeanMs, ttftP99Ms, tpotMeanMs] = aims;
  return { ...row, aims: { ttftMeanMs, ttftP99Ms, tpotMeanMs } };
}

function robustnessOf({
  trouble,
  workload,
  engine,
  ratio,
  times,
  moreMs,
  least,
  ttftMeanMs = 0,
  untroubledMs = 0,
  met,
}: Trouble): RobustnessRow {
  const name = `${trouble}: ${workload}, ${engine}`;
  if (moreMs !== undefined) return { name, ratio: ttftMeanMs - untroubledMs, limit: moreMs, met, unit: "ms" };
  return least === undefined ? { name, ratio, limit: times ?? 1, met, unit: "factor" } : { name, ratio, limit: least, met, unit: "share" };
}
