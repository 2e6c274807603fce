/**
 * What a request costs the edge beside what it cost another commit's: CPU of all threads, by turns, with the ratio of each round. The other commit is
 * checked out with its own benchmark's replicas, which speak its protocol; the load is the same.
 */
import { execFileSync } from "node:child_process";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { type Arm, startEdge, startPassthrough, startSmg, temporaryFolder } from "./arms.ts";
import { round } from "./cpu.ts";
import { SIZES } from "./grid.ts";
import { holdPrefixes, joinReplicas, type Load, measure, type Mock, startMock } from "./setup.ts";

const REPLICAS = 4;
const CONCURRENCY = 16;
const ROOT = join(import.meta.dirname, "../../..");
const REQUESTS = [1_600, 800, 400];
/** Events a stream → streams a round. */
const STREAMS: readonly (readonly [number, number])[] = [
  [400, 128],
  [2_000, 32],
];

interface Side {
  arm: Arm;
  mock: Mock;
}

export interface AgainstRow {
  name: string;
  rounds: number;
  /** CPU ms a request, or us an event: median of the rounds by arm. */
  cpu: Record<string, number>;
  /** This edge's CPU over the arm's of the same round: median, least and most. */
  ratio: Record<string, readonly number[]>;
  failed: number;
}

type Setup = typeof import("./setup.ts") & Pick<typeof import("./arms.ts"), "startEdge">;

async function sideOf(setup: Setup, name: Arm["name"]): Promise<Side & { port: number; ports: number[] }> {
  const edge = await setup.startEdge();
  const { mock, ports } = await setup.startMock(REPLICAS);
  await setup.joinReplicas(edge, mock, ports, REPLICAS);
  await setup.holdPrefixes(edge, mock, SIZES.slice(0, 3), REPLICAS);
  return { arm: { ...edge, name }, mock, port: ports[0] ?? 0, ports };
}

/** A working tree of `commit` beside this one, with this one's packages. */
function checkedOut(commit: string): string {
  const folder = join(temporaryFolder(), "base");
  execFileSync("git", ["worktree", "add", "--detach", folder, commit], { cwd: ROOT, stdio: "ignore" });
  process.on("exit", () => execFileSync("git", ["worktree", "remove", "--force", folder], { cwd: ROOT, stdio: "ignore" }));
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
  return folder;
}

async function baseSide(commit: string): Promise<Side> {
  const bench = join(checkedOut(commit), "test/bench/edge");
  const [arms, setup] = await Promise.all([import(join(bench, "arms.ts")), import(join(bench, "setup.ts"))]);
  return sideOf({ ...(setup as object), ...(arms as object) } as Setup, "base");
}

function spread(values: readonly number[]): readonly number[] {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const median = ((sorted[Math.ceil(middle) - 1] ?? Number.NaN) + (sorted[Math.floor(middle)] ?? Number.NaN)) / 2;
  return [median, sorted[0] ?? Number.NaN, sorted.at(-1) ?? Number.NaN].map((value) => round(value));
}

async function row(name: string, arms: readonly Arm[], rounds: number, cost: (arm: Arm) => Promise<[cpu: number, failed: number]>) {
  const costs = new Map(arms.map((arm) => [arm.name, [] as number[]]));
  let failed = 0;
  // The first round warms all of them up and is not counted.
  for (let turn = -1; turn < rounds; turn++) {
    for (const arm of turn % 2 === 0 ? arms : arms.toReversed()) {
      const [cpu, bad] = await cost(arm);
      failed += bad;
      if (turn >= 0) costs.get(arm.name)?.push(cpu);
    }
  }
  const own = costs.get("edge") ?? [];
  const told: AgainstRow = { name, rounds, cpu: {}, ratio: {}, failed };
  for (const [arm, values] of costs) {
    told.cpu[arm] = spread(values)[0] ?? Number.NaN;
    if (arm !== "edge") told.ratio[arm] = spread(own.map((value, index) => value / (values[index] ?? Number.NaN)));
  }
  const ratios = Object.entries(told.ratio).map(([arm, [median, least, most]]) => `/ ${arm} ${median} (${least} to ${most})`);
  process.stdout.write(`${name.padEnd(28)} ${ratios.join(", ")}\n`);
  return told;
}

/** `base`: a commit; null: none. `smg`: the path of the peer's program. */
export async function against(load: Load, rounds: number, base: string | null, smg: string | undefined): Promise<AgainstRow[]> {
  const own = await sideOf({ startEdge, startMock, joinReplicas, holdPrefixes } as Setup, "edge");
  const sides: Side[] = [own];
  if (base !== null) sides.push(await baseSide(base));
  const arms = [...sides.map(({ arm }) => arm), await startPassthrough(own.port)];
  if (smg !== undefined) arms.push(await startSmg(smg, own.ports));
  const rows: AgainstRow[] = [];
  for (const [index, promptBytes] of SIZES.slice(0, 3).entries()) {
    const requests = REQUESTS[index] ?? 0;
    const made = await row(`${promptBytes / 1_024} KB unary`, arms, rounds, async (arm) => {
      const { reply, cpuMs } = await measure(load, arm, { promptBytes, stream: false, concurrency: CONCURRENCY, requests, warmup: 0 });
      return [cpuMs / reply.sent, reply.failed];
    });
    rows.push(made);
  }
  for (const [events, streams] of STREAMS) {
    for (const { mock } of sides) await mock.ask({ type: "events", count: events, oneByOne: true });
    const made = await row(`${events} events a stream`, arms, rounds, async (arm) => {
      const command = { promptBytes: 2_048, stream: true, concurrency: CONCURRENCY, requests: streams, warmup: 0 };
      const { reply, cpuMs } = await measure(load, arm, command);
      return [(cpuMs * 1_000) / reply.events, reply.failed];
    });
    rows.push(made);
  }
  for (const { mock } of sides) mock.end();
  return rows;
}
