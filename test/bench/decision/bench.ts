/** What all parts of the comparison share: which cells there are, what load 1 means in each, and how results are kept. */
import type { EngineName } from "../../../simulator/constants.ts";
import { commitNow, readResult, writeResult } from "../result.ts";
import type { Asked, Fleet } from "./task.ts";

export type { Fleet };
import { performAll } from "./threads.ts";

export interface Bench {
  workloads: readonly Asked[];
  engines: readonly EngineName[];
  loads: readonly number[];
  /** Null: all that the part compares. */
  policies: readonly string[] | null;
  threads: number;
  requests: number;
  seed: number;
  trace: Fleet["trace"];
  /** Names of the robustness part's troubles to make again, their rows alone; null: all of the part. */
  troubles: readonly string[] | null;
  /** Results are written, not only printed. */
  keeps: boolean;
}

/** Who is compared, the product last. */
export const PEERS = [
  "round-robin",
  "consistent-hash",
  "min-ttft",
  "dynamo-linear",
  "lmetric",
  "llm-d",
  "llm-d-precise",
  "smg-cache-aware",
  "smg-events",
  "aibrix",
  "loadaware",
] as const;
export const PRODUCT = "warmpath";

export function fleetsOf(bench: Bench, constants: readonly number[], kvShare = 1): Fleet[] {
  const { workloads, engines, requests, seed, trace, keeps } = bench;
  return workloads.flatMap((workload) =>
    engines.flatMap((engine) =>
      constants.map((factor) => ({ workload, engine, constants: factor, kvShare, requests, seed, trace, tuning: !keeps })),
    ),
  );
}

/** Requests a second at load 1 of each fleet: simulator/saturation.ts. */
export async function saturations(bench: Bench, fleets: readonly Fleet[]): Promise<number[]> {
  const tasks = fleets.map((fleet) => ({ ...fleet, what: "saturation" as const }));
  return (await performAll(tasks, bench.threads)).map(({ ratePerSecond }) => ratePerSecond);
}

export function keep(bench: Bench, name: string, rows: object[]): void {
  if (!bench.keeps) return;
  const { requests, seed, trace, loads } = bench;
  const file = writeResult(name, { replicas: 8, requests, seed, traceSkips: trace.skip, loads, peers: bench.policies ?? PEERS }, rows);
  process.stderr.write(`written to ${file}\n`);
}

export type Row = Record<string, unknown>;

/** Rows that were made again take the places of those with the same `keys`, and carry their own commit. */
export function keepAgain(bench: Bench, name: string, again: readonly Row[], keys: readonly string[]): void {
  if (!bench.keeps) return;
  const before = readResult<Row>(name);
  const keyOf = (row: Row): string => keys.map((key) => String(row[key])).join(" ");
  const commit = commitNow();
  const made = new Map(again.map((row) => [keyOf(row), { ...row, commit }]));
  const rows = before.rows.map((row) => made.get(keyOf(row)) ?? row);
  process.stderr.write(`written to ${writeResult(name, before.parameters, rows, before)}\n`);
}
