/**
 * How long a replica's process takes from SIGKILL until it serves again, and what that is made of. `--load N`: N busy loops beside it. `--base FOLDER`: a
 * checkout of another commit with its packages installed, whose product takes turns with this one's.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { childrenOf, familyOf, replicaPid } from "../e2e/processes.ts";
import { metric, type Started, startProduct } from "../e2e/started.ts";
import { writeResult } from "./result.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    load: { type: "string", default: "0" },
    base: { type: "string" },
    save: { type: "boolean", default: false },
  },
});
const POLL_MS = 5;

interface Round {
  /** From the kill: its next process is there. */
  forkedMs: number;
  /** Its engine's process is there. */
  engineMs: number;
  /** The pool counts it as ready. */
  readyMs: number;
  /** CPU of both processes until then. */
  cpuMs: number;
}

async function when<T>(ask: () => T | undefined | Promise<T | undefined>, fromMs: number): Promise<{ ms: number; value: T }> {
  for (;;) {
    const value = await ask();
    if (value !== undefined) return { ms: Math.round(performance.now() - fromMs), value };
    await sleep(POLL_MS);
  }
}

async function cpuMsOf(pids: readonly number[]): Promise<number> {
  const ticks = await Promise.all(
    pids.map(async (pid) => {
      const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
      const [user = "0", system = "0", childUser = "0", childSystem = "0"] = stat
        .slice(stat.lastIndexOf(")") + 2)
        .split(" ")
        .slice(11, 15);
      return Number(user) + Number(system) + Number(childUser) + Number(childSystem);
    }),
  );
  return ticks.reduce((sum, each) => sum + each * 10, 0);
}

async function round(product: Started): Promise<Round> {
  const before = replicaPid(product, "replica-1");
  if (before === undefined) throw new Error("There is no replica.");
  process.kill(before, "SIGKILL");
  const killedMs = performance.now();
  const forked = await when(() => {
    const now = replicaPid(product, "replica-1");
    return now === before ? undefined : now;
  }, killedMs);
  const engine = await when(() => childrenOf(forked.value)[0], killedMs);
  const ready = await when(
    async () => ((await metric(product, "warmpath_replicas_ready")) === 2 && (await served(product, forked.value)) ? true : undefined),
    killedMs,
  );
  return { forkedMs: forked.ms, engineMs: engine.ms, readyMs: ready.ms, cpuMs: await cpuMsOf(familyOf(forked.value)) };
}

/** The metric may still count the old one. */
async function served(product: Started, pid: number): Promise<boolean> {
  const suspects = await metric(product, "warmpath_replicas_suspect");
  return suspects === 0 && childrenOf(pid).length > 0;
}

const arms: { name: string; product: Started; rounds: Round[] }[] = [];
const base = values.base === undefined ? null : resolve(values.base);
let baseCommit: string | null = null;
try {
  if (base !== null) {
    baseCommit = execFileSync("git", ["rev-parse", "HEAD"], { cwd: base, encoding: "utf8" }).trim();
    const of = (await import(join(base, "test/e2e/started.ts"))) as { startProduct: typeof startProduct };
    arms.push({ name: "base", product: await of.startProduct({ replicas: 2 }), rounds: [] });
  }
  arms.push({ name: "now", product: await startProduct({ replicas: 2 }), rounds: [] });
  const loops: ChildProcess[] = Array.from({ length: Number(values.load) }, () => spawn(process.execPath, ["-e", "for(;;);"]));
  try {
    for (let n = 0; n < Number(values.rounds); n++) {
      for (const { name, product, rounds } of arms) {
        // A death that soon follows another waits longer.
        await sleep(12_000);
        const made = await round(product);
        rounds.push(made);
        console.log(name, JSON.stringify(made));
      }
    }
  } finally {
    for (const loop of loops) loop.kill("SIGKILL");
  }
} finally {
  for (const { product } of arms) await product.stop();
}

/** Median, least and most of each. */
function spread(rounds: readonly Round[]): Record<keyof Round, readonly number[]> {
  const of = (key: keyof Round): readonly number[] => {
    const sorted = rounds.map((each) => each[key]).toSorted((a, b) => a - b);
    return [sorted[Math.floor(sorted.length / 2)] ?? Number.NaN, sorted[0] ?? Number.NaN, sorted.at(-1) ?? Number.NaN];
  };
  return { forkedMs: of("forkedMs"), engineMs: of("engineMs"), readyMs: of("readyMs"), cpuMs: of("cpuMs") };
}

const rows = arms.map(({ name, rounds }) => ({ arm: name, medianLeastMost: spread(rounds), rounds }));
for (const { arm, medianLeastMost } of rows) console.log(arm, JSON.stringify(medianLeastMost));
if (values.save) writeResult(`restart-load-${values.load}`, { load: Number(values.load), rounds: Number(values.rounds), baseCommit }, rows);
