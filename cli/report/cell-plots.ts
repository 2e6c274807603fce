/** The pictures of a report: from cells to lines and bars. */
import type { Cell, CellMetrics } from "../../simulator/comparison.ts";
import { barPlot } from "./bar-plot.ts";
import { type Line, linePlot } from "./line-plot.ts";
import { escapeText, slug } from "./markup.ts";
import { inOrder } from "./palette.ts";
import { digits, percent, plain } from "./quantities.ts";
import type { CapacityRow } from "./report.ts";

const DRAWN: readonly { metric: keyof CellMetrics; name: string }[] = [
  { metric: "ttftMeanMs", name: "TTFT, mean" },
  { metric: "ttftP99Ms", name: "TTFT, 99th percentile" },
  { metric: "tpotMeanMs", name: "TPOT, mean over tokens" },
];

/** Cells that may be compared in one picture: all but their load and policy is the same. */
interface Group {
  workload: string;
  model: string;
  constants: number;
  cells: Cell[];
}

/** Constants as published come first, and alone are drawn where they were run. */
function groupsOf(cells: readonly Cell[]): Group[] {
  const groups = new Map<string, Group>();
  for (const cell of cells) {
    const { workload, model, constants } = cell;
    const key = JSON.stringify([workload, model, constants]);
    const group = groups.get(key) ?? { workload, model, constants, cells: [] };
    group.cells.push(cell);
    groups.set(key, group);
  }
  const all = [...groups.values()];
  return all.filter(
    ({ workload, model, constants }) =>
      constants === 1 || !all.some((other) => other.workload === workload && other.model === model && other.constants === 1),
  );
}

function nameOf({ model, constants }: { model: string; constants: number }): string {
  return constants === 1 ? model : `${model}, constants × ${plain(constants)}`;
}

/** Mean TTFT, p99 and TPOT against the load: a section a workload, a row of three a model. */
export function workloadPlots(cells: readonly Cell[], ours: string): { workload: string; body: string }[] {
  const groups = groupsOf(cells);
  const workloads = [...new Set(groups.map(({ workload }) => workload))];
  return workloads.map((workload) => {
    const rows = groups
      .filter((group) => group.workload === workload)
      .map((group) => {
        const plots = DRAWN.map(({ metric, name }) => {
          const id = slug(`${workload} ${nameOf(group)} ${metric}`);
          return linePlot({ id, title: name, lines: linesOf(group.cells, metric, ours), ours });
        });
        return `<h3>${escapeText(nameOf(group))}</h3><div class="plots">${plots.join("")}</div>`;
      });
    return { workload, body: rows.join("") };
  });
}

function linesOf(cells: readonly Cell[], metric: keyof CellMetrics, ours: string): Line[] {
  return inOrder(
    cells.map(({ policy }) => policy),
    ours,
  ).map((policy) => ({
    policy,
    points: cells
      .filter((cell) => cell.policy === policy)
      .map((cell) => ({ load: cell.load, value: cell.metrics[metric] }))
      .filter(({ value }) => Number.isFinite(value))
      .toSorted((a, b) => a.load - b.load),
  }));
}

/** Share of prompt tokens cached, at each group's highest load. */
export function hitPlots(cells: readonly Cell[], ours: string): string {
  const plots = groupsOf(cells).map((group) => {
    const load = Math.max(...group.cells.map((cell) => cell.load));
    const rows = group.cells.filter((cell) => cell.load === load);
    const ceiling = Math.max(0, ...rows.map(({ metrics }) => metrics.ceilingHitShare).filter(Number.isFinite));
    return barPlot({
      id: slug(`hits ${group.workload} ${nameOf(group)}`),
      title: `${group.workload}, ${nameOf(group)}, load ${plain(load)}`,
      bars: rows.map(({ policy, metrics }) => ({ policy, value: metrics.hitShare })),
      ours,
      ceiling: { value: ceiling, name: "ceiling" },
      format: percent,
      tickFormat: (share) => `${plain(share * 100)} %`,
    });
  });
  return plots.length === 0 ? "" : `<div class="plots">${plots.join("")}</div>`;
}

export function capacityPlots(rows: readonly CapacityRow[], ours: string): string {
  const names = [...new Set(rows.map(capacityName))];
  const plots = names.map((name) =>
    barPlot({
      id: slug(`capacity ${name}`),
      title: `${name}, requests per second`,
      bars: rows.filter((row) => capacityName(row) === name).map(({ policy, requestsPerSecond }) => ({ policy, value: requestsPerSecond })),
      ours,
      format: digits,
      tickFormat: plain,
    }),
  );
  return `<div class="plots">${plots.join("")}</div>`;
}

export function capacityName({ workload, model }: CapacityRow): string {
  return model === undefined ? workload : `${workload}, ${model}`;
}
