/**
 * Policies compared cell by cell. A cell is one workload at one load on one engine model; each policy has one row in it, of the same requests
 * at the same times. Lower is better in all that is compared.
 */
import { geomean, ratioOf } from "./statistics.ts";

export interface CellMetrics {
  ttftMeanMs: number;
  ttftP50Ms: number;
  ttftP99Ms: number;
  /** Over tokens, not over requests. */
  tpotMeanMs: number;
  tpotP99Ms: number;
  e2eMeanMs: number;
  /** Share of requests within the SLO, 0 … 1. */
  goodputShare: number;
  /** Share of prompt tokens that were cached, 0 … 1. */
  hitShare: number;
  /** The same with one cache for all that never evicts: nobody can have more. */
  ceilingHitShare: number;
  /** Requests that were refused with a retry time. */
  refused: number;
}

export interface CellKey {
  workload: string;
  model: string;
  /** Share of what the fleet completes at most. */
  load: number;
  /** What the engine's published constants are multiplied with. */
  constants: number;
}

export interface Cell extends CellKey {
  policy: string;
  metrics: CellMetrics;
}

/** What is compared. */
export const COMPARED = ["ttftMeanMs", "ttftP99Ms", "tpotMeanMs"] as const;
export type ComparedMetric = (typeof COMPARED)[number];

/** Within this of the best peer a cell is not lost: what is less is noise. */
export const CELL_LIMITS: Readonly<Record<ComparedMetric, number>> = { ttftMeanMs: 1.05, ttftP99Ms: 1.15, tpotMeanMs: 1.05 };

export interface CellRatio extends CellKey {
  metric: ComparedMetric;
  ours: number;
  /** The lowest of the peers' values. */
  best: number;
  peer: string;
  ratio: number;
}

export interface LostCell extends CellRatio {
  limit: number;
}

export interface PeerGeomean {
  peer: string;
  /** Cells in which both have a row. */
  cells: number;
  /** Ours by theirs. */
  ratios: Readonly<Record<ComparedMetric, number>>;
}

/** Equal for rows of the same cell only. */
export function cellId({ workload, model, load, constants }: CellKey): string {
  return JSON.stringify([workload, model, load, constants]);
}

/** Rows by cell, in the order in which the cells come first. */
export function rowsByCell(cells: readonly Cell[]): Map<string, Cell[]> {
  const byCell = new Map<string, Cell[]>();
  for (const row of cells) {
    const rows = byCell.get(cellId(row));
    if (rows === undefined) byCell.set(cellId(row), [row]);
    else rows.push(row);
  }
  return byCell;
}

/** Ours against the best peer of each cell and metric; cells without a row of ours, or of any peer, are left out. */
export function ratiosToBestPeer(cells: readonly Cell[], ours: string): CellRatio[] {
  const ratios: CellRatio[] = [];
  for (const rows of rowsByCell(cells).values()) {
    const own = rows.find(({ policy }) => policy === ours);
    const [first, ...rest] = rows.filter(({ policy }) => policy !== ours);
    if (own === undefined || first === undefined) continue;
    for (const metric of COMPARED) {
      const peer = rest.reduce((best, row) => (row.metrics[metric] < best.metrics[metric] ? row : best), first);
      const { workload, model, load, constants } = own;
      const [value, best] = [own.metrics[metric], peer.metrics[metric]];
      ratios.push({ workload, model, load, constants, metric, ours: value, best, peer: peer.policy, ratio: ratioOf(value, best) });
    }
  }
  return ratios;
}

/** Cells in which we are above the limit, the worst first. At the limit is not lost; what is no number is. */
export function cellsLost(ratios: readonly CellRatio[], limits: Readonly<Record<ComparedMetric, number>> = CELL_LIMITS): LostCell[] {
  return ratios
    .map((ratio) => ({ ...ratio, limit: limits[ratio.metric] }))
    .filter(({ ratio, limit }) => !(ratio <= limit))
    .toSorted((a, b) => b.ratio / b.limit - a.ratio / a.limit);
}

/**
 * Ours against each peer over all cells that both have, in the order in which the peers come first.
 * @throws {RangeError} where a value is 0 on one side only: such a ratio has no mean.
 */
export function geomeansAgainstPeers(cells: readonly Cell[], ours: string): PeerGeomean[] {
  const pairs = new Map<string, { own: Cell; peer: Cell }[]>();
  for (const rows of rowsByCell(cells).values()) {
    const own = rows.find(({ policy }) => policy === ours);
    for (const peer of rows) {
      if (own === undefined || peer === own) continue;
      const known = pairs.get(peer.policy);
      if (known === undefined) pairs.set(peer.policy, [{ own, peer }]);
      else known.push({ own, peer });
    }
  }
  return Array.from(pairs, ([peer, both]) => {
    const over = (metric: ComparedMetric): number =>
      geomean(both.map((pair) => ratioOf(pair.own.metrics[metric], pair.peer.metrics[metric])));
    return {
      peer,
      cells: both.length,
      ratios: { ttftMeanMs: over("ttftMeanMs"), ttftP99Ms: over("ttftP99Ms"), tpotMeanMs: over("tpotMeanMs") },
    };
  });
}
