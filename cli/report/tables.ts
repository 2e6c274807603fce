/** The tables of a report. */
import {
  type Cell,
  type CellKey,
  type CellRatio,
  CELL_LIMITS,
  COMPARED,
  type ComparedMetric,
  type LostCell,
  cellId,
} from "../../simulator/comparison.ts";
import { capacityName } from "./cell-plots.ts";
import { escapeText, table } from "./markup.ts";
import { inOrder } from "./palette.ts";
import { digits, milliseconds, percent, plain, times, timesFinely } from "./quantities.ts";
import { LIMITS_IN_WORDS } from "./reading.ts";
import type { CapacityRow, GeomeanRow, RobustnessRow } from "./report.ts";

const METRIC_NAMES: Readonly<Record<ComparedMetric, string>> = { ttftMeanMs: "TTFT mean", ttftP99Ms: "TTFT p99", tpotMeanMs: "TPOT mean" };

function cellName({ workload, model, load, constants }: CellKey): string {
  return escapeText(`${workload}, ${model}, load ${plain(load)}${constants === 1 ? "" : `, constants × ${plain(constants)}`}`);
}

/** Clearly better, better, neither, lost, clearly lost. */
function shade(ratio: number, limit: number): string {
  if (ratio <= 0.8) return "better2";
  if (ratio <= 0.95) return "better1";
  if (ratio <= limit) return "even";
  return ratio <= limit * 1.25 ? "worse1" : "worse2";
}

/** The heat table: a row a cell, a column a measure. */
export function ratioTable(ratios: readonly CellRatio[]): string {
  if (ratios.length === 0) return "";
  const byCell = Map.groupBy(ratios, cellId);
  const rows = Array.from(byCell.values(), (all) => {
    const cells = COMPARED.map((metric) => {
      const found = all.find((ratio) => ratio.metric === metric);
      if (found === undefined) return "";
      const limit = CELL_LIMITS[metric];
      const shown = found.ratio <= limit ? times(found.ratio) : `▲ ${timesFinely(found.ratio)}`;
      return `<td class="${shade(found.ratio, limit)}">${shown} <small>${escapeText(found.peer)}</small></td>`;
    });
    const [first] = all;
    return { cells: [first === undefined ? "" : cellName(first), ...cells] };
  });
  const head = ["Cell", ...COMPARED.map((metric) => METRIC_NAMES[metric])];
  return table({ caption: `Ratio to the best peer, and its name. ▲ is above the limit: ${LIMITS_IN_WORDS}`, head, rows });
}

export function lostTable(lost: readonly LostCell[]): string {
  if (lost.length === 0) return "<p>None.</p>";
  const rows = lost.map((cell) => {
    const unit = [milliseconds(cell.ours), milliseconds(cell.best)];
    return {
      cells: [cellName(cell), METRIC_NAMES[cell.metric], timesFinely(cell.ratio), times(cell.limit), ...unit, escapeText(cell.peer)],
    };
  });
  return table({ caption: "The worst first", head: ["Cell", "Measure", "Ratio", "Limit", "Ours", "Best peer's", "Best peer"], rows });
}

export function geomeanTable(geomeans: readonly GeomeanRow[]): string {
  if (geomeans.length === 0) return "";
  const rows = geomeans.map(({ peer, cells, ratios, aims }) => {
    const columns = COMPARED.map((metric) => {
      const aim = aims?.[metric];
      const shown = `${times(ratios[metric])}`;
      if (aim === undefined) return `<td class="${shade(ratios[metric], 1)}">${shown}</td>`;
      const met = ratios[metric] <= aim;
      const verdict = `<span class="${met ? "met" : "missed"}">${met ? "✓" : "✗"}</span> <small>aim ${times(aim)}</small>`;
      return `<td class="${shade(ratios[metric], Math.max(1, aim))}">${shown} ${verdict}</td>`;
    });
    return { cells: [escapeText(peer), plain(cells), ...columns] };
  });
  return table({ caption: "Geometric mean of ratios", head: ["Peer", "Cells", ...COMPARED.map((metric) => METRIC_NAMES[metric])], rows });
}

export function robustnessTable(robustness: readonly RobustnessRow[]): string {
  if (robustness.length === 0) return "";
  const rows = robustness.map(({ name, ratio, limit, met, unit }) => {
    const format = unit === "ms" ? milliseconds : unit === "share" ? percent : times;
    return {
      cells: [
        escapeText(name),
        format(ratio),
        format(limit),
        `<span class="${met ? "met" : "missed"}">${met ? "✓ met" : "✗ missed"}</span>`,
      ],
    };
  });
  return table({ caption: "What goes wrong, what it costs, and how much it may", head: ["Condition", "Measured", "Limit", ""], rows });
}

export function capacityTable(capacities: readonly CapacityRow[], ours: string): string {
  const names = [...new Set(capacities.map(capacityName))];
  const policies = inOrder(
    capacities.map(({ policy }) => policy),
    ours,
  );
  const rows = policies.map((policy) => ({
    emphasised: policy === ours,
    cells: [
      escapeText(policy),
      ...names.map((name) => {
        const row = capacities.find((each) => each.policy === policy && capacityName(each) === name);
        return row === undefined ? "" : digits(row.requestsPerSecond);
      }),
    ],
  }));
  return table({ caption: "SLO capacity, requests per second", head: ["Policy", ...names], rows });
}

const NUMBER_HEAD = [
  "Policy",
  "TTFT mean",
  "TTFT p50",
  "TTFT p99",
  "TPOT mean",
  "TPOT p99",
  "E2E mean",
  "Within SLO",
  "Cached",
  "Ceiling",
  "Refused",
];

/** A table a cell, a row a policy. */
export function numberTables(cells: readonly Cell[], ours: string): string {
  const tables = Array.from(Map.groupBy(cells, cellId).values(), (all) => {
    const order = inOrder(
      all.map(({ policy }) => policy),
      ours,
    );
    const rows = all
      .toSorted((a, b) => order.indexOf(a.policy) - order.indexOf(b.policy))
      .map(({ policy, metrics }) => ({
        emphasised: policy === ours,
        cells: [
          escapeText(policy),
          ...[metrics.ttftMeanMs, metrics.ttftP50Ms, metrics.ttftP99Ms, metrics.tpotMeanMs, metrics.tpotP99Ms, metrics.e2eMeanMs].map(
            milliseconds,
          ),
          ...[metrics.goodputShare, metrics.hitShare, metrics.ceilingHitShare].map(percent),
          plain(metrics.refused),
        ],
      }));
    const [first] = all;
    if (first === undefined) return "";
    const { workload, model, load, constants } = first;
    const caption = `${workload}, ${model}, load ${plain(load)}${constants === 1 ? "" : `, constants × ${plain(constants)}`}`;
    return table({ caption, head: NUMBER_HEAD, rows });
  });
  return tables.join("\n");
}
