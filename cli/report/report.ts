/** A comparison of policies as one HTML page: no scripts, nothing fetched, readable on paper, in the dark and by a screen reader. */
import {
  type Cell,
  type CellRatio,
  type ComparedMetric,
  type LostCell,
  type PeerGeomean,
  ratiosToBestPeer,
  rowsByCell,
} from "../../simulator/comparison.ts";
import { capacityPlots, hitPlots, workloadPlots } from "./cell-plots.ts";
import { escapeText, slug } from "./markup.ts";
import { parameterList } from "./parameters.ts";
import { plain, times } from "./quantities.ts";
import { LIMITS_IN_WORDS, readingGuide, SLO_IN_WORDS } from "./reading.ts";
import { STYLE } from "./style.ts";
import { geomeanTable, lostTable, numberTables, ratioTable, robustnessTable, capacityTable } from "./tables.ts";
import { type Timeline, timelinePlot } from "./timeline-plot.ts";

export interface GeomeanRow extends PeerGeomean {
  /** At most this was aimed at. */
  aims?: Partial<Record<ComparedMetric, number>>;
}

export interface RobustnessRow {
  name: string;
  /** A factor, or ms where `unit` says so. */
  ratio: number;
  limit: number;
  met: boolean;
  unit?: "factor" | "ms" | "share";
}

export interface CapacityRow {
  workload: string;
  model?: string;
  policy: string;
  /** The highest rate at which enough requests were within the SLO; 0: at none that was tried. */
  requestsPerSecond: number;
}

export interface Report {
  title: string;
  commit: string;
  /** As it is to be read, such as 2026-11-26. */
  date: string;
  /** What a reader needs to run it again: replicas, seeds, traces. */
  parameters: Readonly<Record<string, string | number | boolean>>;
  cells: readonly Cell[];
  /** The policy that is compared with the others; "warmpath" when left out. */
  ours?: string;
  geomeans?: readonly GeomeanRow[];
  robustness?: readonly RobustnessRow[];
  capacities?: readonly CapacityRow[];
  /** Every one is listed. Left out: the section is, too. */
  lost?: readonly LostCell[];
  timelines?: readonly Timeline[];
}

interface Section {
  title: string;
  note: string;
  body: string;
}

/** The page. Sections without rows are left out. The same report gives the same bytes. */
export function writeReport(report: Report): string {
  const ours = report.ours ?? "warmpath";
  const ratios = ratiosToBestPeer(report.cells, ours);
  const sections = sectionsOf(report, ours, ratios).filter(({ body }) => body !== "");
  const links = sections.map(({ title }) => `<li><a href="#${slug(title)}">${escapeText(title)}</a></li>`).join("");
  const parts = sections.map(({ title, note, body }) => {
    const remark = note === "" ? "" : `<p class="soft">${escapeText(note)}</p>`;
    return `<section aria-labelledby="${slug(title)}"><h2 id="${slug(title)}">${escapeText(title)}</h2>${remark}${body}</section>`;
  });
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeText(report.title)}</title>
<style>${STYLE}</style>
</head>
<body>
<header><h1>${escapeText(report.title)}</h1><p class="soft">Commit ${escapeText(report.commit)}, ${escapeText(report.date)}</p></header>
<nav aria-label="Sections"><ul>${links}</ul></nav>
<main>
${facts(report, ours, ratios)}
${parts.join("\n")}
</main>
</body>
</html>
`;
}

function sectionsOf(report: Report, ours: string, ratios: readonly CellRatio[]): Section[] {
  const perPolicy =
    "A line is a policy, the same colour everywhere; variants of one product share its colour and are dashed. Axes of time are logarithmic.";
  const plots = workloadPlots(report.cells, ours).map(({ workload, body }) => ({ title: `Workload: ${workload}`, note: perPolicy, body }));
  const timelines = (report.timelines ?? []).map((timeline, index) => timelinePlot(timeline, `timeline-${index}`, ours)).join("");
  const capacities = report.capacities ?? [];
  return [
    { title: "How to read this", note: "", body: report.cells.length === 0 ? "" : readingGuide() },
    {
      title: "Against the best peer",
      note: `${ours} divided by the lowest peer of each cell and measure, whichever peer that is. Below 1 is better.`,
      body: ratioTable(ratios),
    },
    {
      title: "Cells lost",
      note: `Above the limit against the best peer: ${LIMITS_IN_WORDS}.`,
      body: report.lost === undefined ? "" : lostTable(report.lost),
    },
    {
      title: "Against each peer",
      note: `Geometric mean of ${ours} divided by that peer over all cells both ran. Below 1 is better.`,
      body: geomeanTable(report.geomeans ?? []),
    },
    ...plots,
    {
      title: "Cached share",
      note: "Share of prompt tokens found in the cache, at the highest load. The ceiling is one cache for all that never evicts.",
      body: hitPlots(report.cells, ours),
    },
    {
      title: "SLO capacity",
      note: `The highest arrival rate at which 90 % of requests have ${SLO_IN_WORDS}.`,
      body: capacities.length === 0 ? "" : capacityPlots(capacities, ours) + capacityTable(capacities, ours),
    },
    { title: "Robustness", note: "", body: robustnessTable(report.robustness ?? []) },
    { title: "Over time", note: "", body: timelines },
    {
      title: "All numbers",
      note: `TPOT is over tokens. Within SLO: ${SLO_IN_WORDS}.`,
      body: numberTables(report.cells, ours),
    },
    { title: "Parameters", note: "", body: parameterList(report.parameters) },
  ];
}

/** The page in four numbers. */
function facts(report: Report, ours: string, ratios: readonly CellRatio[]): string {
  const policies = new Set(report.cells.map(({ policy }) => policy)).size;
  const means = ratios.filter(({ metric }) => metric === "ttftMeanMs").map(({ ratio }) => ratio);
  const best = means.filter((ratio) => ratio <= 1).length;
  const rows: [string, string][] = [
    ["Cells", plain(rowsByCell(report.cells).size)],
    ["Policies", plain(policies)],
  ];
  if (means.length > 0)
    rows.push(
      [`Lowest mean TTFT is ${ours}'s`, `${best} of ${means.length} cells`],
      ["Worst mean TTFT to best peer", times(Math.max(...means))],
    );
  if (report.lost !== undefined) rows.push(["Comparisons lost", `${report.lost.length} of ${ratios.length}`]);
  return `<dl class="facts">${rows.map(([name, value]) => `<div><dt>${escapeText(name)}</dt><dd>${escapeText(value)}</dd></div>`).join("")}</dl>`;
}
