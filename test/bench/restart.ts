/** How long a replica's process takes from SIGKILL until it serves again, and what that is made of; load: so many busy loops beside it. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { childrenOf, familyOf, replicaPid } from "../e2e/processes.ts";
import { metric, type Started, startProduct } from "../e2e/started.ts";
import { writeResult } from "./result.ts";

const { values } = parseArgs({
  options: { rounds: { type: "string", default: "5" }, load: { type: "string", default: "0" }, save: { type: "boolean", default: false } },
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

const loops: ChildProcess[] = Array.from({ length: Number(values.load) }, () => spawn(process.execPath, ["-e", "for(;;);"]));
const product = await startProduct({ replicas: 2 });
const rounds: Round[] = [];
try {
  for (let n = 0; n < Number(values.rounds); n++) {
    await sleep(2_000);
    rounds.push(await round(product));
    console.log(JSON.stringify(rounds.at(-1)));
  }
} finally {
  for (const loop of loops) loop.kill("SIGKILL");
  await product.stop();
}
const median = (of: (each: Round) => number): number =>
  rounds.map(of).toSorted((a, b) => a - b)[Math.floor(rounds.length / 2)] ?? Number.NaN;
const medians = {
  forkedMs: median((r) => r.forkedMs),
  engineMs: median((r) => r.engineMs),
  readyMs: median((r) => r.readyMs),
  cpuMs: median((r) => r.cpuMs),
};
console.log(JSON.stringify({ load: Number(values.load), medians }));
if (values.save) writeResult(`restart-load-${values.load}`, { load: Number(values.load), medians }, rounds);
