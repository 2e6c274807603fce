/** CPU and added latency, by prompt size, mode and concurrency. The arms take turns, so that the machine's mood is the same for all. */
import type { Arm } from "./arms.ts";
import { percentile, round } from "./cpu.ts";
import { type Load, measure } from "./setup.ts";

export interface Cell {
  promptBytes: number;
  mode: "unary" | "streamed";
  concurrency: number;
  nonAscii: boolean;
  arms: Record<string, CellArm>;
}

export interface CellArm {
  requests: number;
  failed: number;
  /** All of the process; null for direct. */
  cpuMsPerRequest: number | null;
  requestsPerS: number;
  p50Ms: number;
  p99Ms: number;
  firstByteP50Ms: number;
  firstByteP99Ms: number;
  /** Requests that took 38 to 60 ms: what a Nagle stall looks like at concurrency 1. */
  near40Ms: number;
}

interface Wanted {
  promptBytes: number;
  stream: boolean;
  concurrency: number;
  requests: number;
  nonAscii?: boolean;
}

const KB = 1_024;
export const SIZES = [2 * KB, 64 * KB, 220 * KB, 4_096 * KB];
const REQUESTS: Record<number, number> = { [2 * KB]: 1_600, [64 * KB]: 800, [220 * KB]: 400, [4_096 * KB]: 24 };
const ROUNDS = 4;

function cellsOf(quick: boolean): Wanted[] {
  const cells: Wanted[] = [];
  for (const promptBytes of SIZES.slice(0, 3)) {
    for (const stream of [false, true]) {
      for (const concurrency of quick ? [1, 16] : [1, 16, 64]) {
        const requests = Math.ceil((REQUESTS[promptBytes] ?? 0) / (quick ? 3 : 1));
        cells.push({ promptBytes, stream, concurrency, requests });
      }
    }
  }
  const large = SIZES[3] ?? 0;
  for (const stream of [false, true]) cells.push({ promptBytes: large, stream, concurrency: 1, requests: REQUESTS[large] ?? 0 });
  if (!quick) cells.push({ promptBytes: 220 * KB, stream: false, concurrency: 16, requests: 400, nonAscii: true });
  return cells;
}

interface Sum {
  totalMs: number[];
  firstMs: number[];
  wallMs: number;
  cpuMs: number;
  sent: number;
  failed: number;
}

function armOf(arm: Arm, sum: Sum): CellArm {
  const total = Float64Array.from(sum.totalMs).sort();
  const first = Float64Array.from(sum.firstMs).sort();
  return {
    requests: total.length,
    failed: sum.failed,
    cpuMsPerRequest: arm.pid === null ? null : round(sum.cpuMs / sum.sent),
    requestsPerS: round((total.length * 1_000) / sum.wallMs, 0),
    p50Ms: round(percentile(total, 0.5)),
    p99Ms: round(percentile(total, 0.99)),
    firstByteP50Ms: round(percentile(first, 0.5)),
    firstByteP99Ms: round(percentile(first, 0.99)),
    near40Ms: total.filter((ms) => ms >= 38 && ms <= 60).length,
  };
}

async function measureCell(load: Load, arms: readonly Arm[], wanted: Wanted): Promise<Cell> {
  const { promptBytes, stream, concurrency, nonAscii = false } = wanted;
  const sums = new Map<Arm, Sum>(arms.map((arm) => [arm, { totalMs: [], firstMs: [], wallMs: 0, cpuMs: 0, sent: 0, failed: 0 }]));
  for (let turn = 0; turn < ROUNDS; turn++) {
    for (const [arm, sum] of turn % 2 === 0 ? sums : [...sums].toReversed()) {
      const requests = Math.ceil(wanted.requests / ROUNDS);
      const warmup = promptBytes > 1e6 ? 1 : concurrency;
      const { reply, cpuMs } = await measure(load, arm, { promptBytes, nonAscii, stream, concurrency, requests, warmup });
      sum.totalMs.push(...reply.totalMs);
      sum.firstMs.push(...reply.firstMs);
      sum.wallMs += reply.wallMs;
      sum.cpuMs += cpuMs;
      sum.sent += reply.sent;
      sum.failed += reply.failed;
    }
  }
  const told = Object.fromEntries([...sums].map(([arm, sum]) => [arm.name, armOf(arm, sum)]));
  return { promptBytes, mode: stream ? "streamed" : "unary", concurrency, nonAscii, arms: told };
}

function print(cell: Cell): void {
  const title = `${cell.promptBytes / KB} KB ${cell.mode} c=${cell.concurrency}${cell.nonAscii ? " not ASCII" : ""}`;
  const arms = Object.entries(cell.arms).map(([name, arm]) => `${name} ${arm.cpuMsPerRequest ?? "-"} cpu-ms, ${arm.p50Ms}/${arm.p99Ms} ms`);
  process.stdout.write(`${title.padEnd(30)} ${arms.join(" | ")}\n`);
}

/** The four APIs beside each other, unary, at concurrency 16: what a request costs the edge through each. */
export async function apis(load: Load, edge: Arm, quick: boolean): Promise<Cell[]> {
  const arms = (["chat", "completions", "responses", "messages"] as const).map((api): Arm => ({ ...edge, name: api, api }));
  const cells: Cell[] = [];
  for (const promptBytes of SIZES.slice(0, 3)) {
    const requests = Math.ceil((REQUESTS[promptBytes] ?? 0) / (quick ? 2 : 0.5));
    const cell = await measureCell(load, arms, { promptBytes, stream: false, concurrency: 16, requests });
    print(cell);
    cells.push(cell);
  }
  return cells;
}

export async function grid(load: Load, arms: readonly Arm[], quick: boolean): Promise<Cell[]> {
  const cells: Cell[] = [];
  for (const wanted of cellsOf(quick)) {
    const cell = await measureCell(load, arms, wanted);
    print(cell);
    cells.push(cell);
  }
  return cells;
}
