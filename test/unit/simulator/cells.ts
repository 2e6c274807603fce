/** Rows of a comparison. */
import type { Cell, CellKey, CellMetrics } from "../../../simulator/comparison.ts";

export const CELL: CellKey = { workload: "agent", model: "8b", load: 0.7, constants: 1 };

export function row(policy: string, metrics: Partial<CellMetrics>, key: Partial<CellKey> = {}): Cell {
  return {
    ...CELL,
    ...key,
    policy,
    metrics: {
      ttftMeanMs: 100,
      ttftP50Ms: 80,
      ttftP99Ms: 400,
      tpotMeanMs: 20,
      tpotP99Ms: 40,
      e2eMeanMs: 4_000,
      goodputShare: 0.99,
      hitShare: 0.5,
      ceilingHitShare: 0.6,
      refused: 0,
      ...metrics,
    },
  };
}
