/** The real product as a user starts it, one per test file: launcher, edge and replicas as processes of their own. */
import { type ChildProcess, spawn } from "node:child_process";
import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { bundleEdge, ROOT } from "../../cli/bundle.ts";
import { ensureDemoModel } from "../../gpu-backend/engine/llama-cpp/demo-model/demo-model.ts";

const CACHE = join(ROOT, "node_modules/.cache/warmpath-test");
const READY_MS = 90_000;
const STOP_MS = 15_000;

export interface StartedOptions {
  replicas?: number;
  profile?: "cache-aware" | "least-loaded" | "round-robin" | "random" | "sticky";
  sequences?: number;
  /** Default 8,192: what the tiny model was made for would cost more memory and time. */
  contextTokens?: number;
  extraArgs?: readonly string[];
}

export interface StartedReplica {
  name: string;
  url: string;
  pid: number;
}

export interface Started {
  /** Of the edge, without `/v1`. */
  url: string;
  apiKey: string;
  model: string;
  replicas: readonly StartedReplica[];
  edgePid: number;
  launcher: ChildProcess;
  stateDirectory: string;
  /** What the launcher and its children have written so far, both streams. */
  output(): string;
  /** `authorization` and `content-type`. */
  headers: Record<string, string>;
  /** SIGINT to the launcher, which cuts what runs; resolves when it and all that it started have gone. Idempotent. */
  stop(): Promise<void>;
}

/** Asks again until `ask` gives something else than null, undefined or false; throws with `what` after `ms`. */
export async function until<T>(what: string, ask: () => T | Promise<T>, ms = 10_000): Promise<NonNullable<Exclude<T, false>>> {
  const deadlineMs = performance.now() + ms;
  for (;;) {
    const answer = await ask();
    if (answer !== null && answer !== undefined && answer !== false) return answer as NonNullable<Exclude<T, false>>;
    if (performance.now() > deadlineMs) throw new Error(`Not within ${ms} ms: ${what}.`);
    await sleep(20);
  }
}

/** False for a zombie, too: it only waits for its parent to take note. */
export async function isAlive(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
  return stat !== null && !/^[ZX]$/.test(stat.slice(stat.lastIndexOf(")") + 2)[0] ?? "X");
}

/** A new state directory with the demo model and the edge's bundle in it, both made once for all tests. */
export async function preparedStateDirectory(): Promise<string> {
  const state = await mkdtemp(join(tmpdir(), "warmpath-e2e-"));
  const model = await ensureDemoModel(CACHE);
  await cp(model, join(state, basename(model)));
  try {
    const bundle = await bundleEdge(CACHE);
    await cp(bundle, join(state, basename(bundle)), { recursive: true });
  } catch (error) {
    // Sources that change under a second run of the tests; the launcher then builds for itself.
    process.stderr.write(`The shared edge bundle is not used: ${String(error)}\n`);
  }
  return state;
}

export interface LauncherProcess {
  process: ChildProcess;
  stdout(): string;
  stderr(): string;
  exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

/** `node cli/start.ts ARGS`, with the tiny model where none is named: no network; it ends with this process. `environment`: over this process's own. */
export function launch(args: readonly string[], environment: Record<string, string> = {}): LauncherProcess {
  const model = args.includes("--model") ? [] : ["--model", "tiny"];
  return launchAsGiven([...model, ...args], environment);
}

/** The same without a word on the model. */
export function launchAsGiven(args: readonly string[], environment: Record<string, string> = {}): LauncherProcess {
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", "cli/start.ts", ...args], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
    // As under `npm start`: the launcher then watches its parent, so that a killed test run leaves nothing behind.
    env: { ...process.env, npm_lifecycle_event: "start", ...environment },
  });
  let out = "";
  let err = "";
  child.stdout.on("data", (text: Buffer) => (out += text.toString()));
  child.stderr.on("data", (text: Buffer) => (err += text.toString()));
  // "exit", not "close": what the launcher leaves behind would hold its pipes open.
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) =>
    child.once("exit", (code, signal) => resolve({ code, signal })),
  );
  return { process: child, stdout: () => out, stderr: () => err, exited };
}

interface DevJson {
  url: string;
  apiKey: string;
  model: string;
  edge: { pid: number };
  replicas: StartedReplica[];
}

async function ready(stateDirectory: string, launcher: ChildProcess, output: () => string): Promise<DevJson> {
  return until(
    "the product is ready",
    async () => {
      if (launcher.exitCode !== null || launcher.signalCode !== null) throw new Error(`The launcher ended early:\n${output()}`);
      const text = await readFile(join(stateDirectory, "dev.json"), "utf8").catch(() => null);
      if (text === null) return null;
      const said = JSON.parse(text) as DevJson;
      const answer = await fetch(`${said.url}/healthz`).catch(() => null);
      await answer?.body?.cancel();
      return answer?.status === 200 ? said : null;
    },
    READY_MS,
  );
}

export async function startProduct(options: StartedOptions = {}): Promise<Started> {
  const stateDirectory = await preparedStateDirectory();
  const args = ["--port", "0", "--replicas", String(options.replicas ?? 2), "--state", stateDirectory];
  if (options.profile !== undefined) args.push("--profile", options.profile);
  if (options.sequences !== undefined) args.push("--sequences", String(options.sequences));
  args.push("--context", String(options.contextTokens ?? 8_192));
  const running = launch([...args, ...(options.extraArgs ?? [])]);
  const { process: launcher } = running;
  const output = (): string => running.stdout() + running.stderr();
  let pids: readonly number[] = [];
  const end = async (): Promise<void> => {
    launcher.kill("SIGINT");
    const gone = await Promise.race([running.exited.then(() => true), sleep(STOP_MS, false, { ref: false })]);
    if (!gone) launcher.kill("SIGKILL");
    await until("all processes have gone", async () => (await Promise.all(pids.map(isAlive))).every((alive) => !alive), STOP_MS);
    await rm(stateDirectory, { recursive: true, force: true, maxRetries: 5 });
    if (!gone) throw new Error(`The launcher did not end on SIGINT within ${STOP_MS} ms:\n${output()}`);
  };
  let ended: Promise<void> | null = null;
  const stop = (): Promise<void> => (ended ??= end());
  const said = await ready(stateDirectory, launcher, output).catch(async (error: unknown) => {
    await stop().catch(() => undefined);
    throw error;
  });
  pids = [said.edge.pid, ...said.replicas.map((replica) => replica.pid)];
  const { url, apiKey, model, replicas } = said;
  const headers = { authorization: `Bearer ${apiKey}`, "content-type": "application/json" };
  return { url, apiKey, model, replicas, edgePid: said.edge.pid, launcher, stateDirectory, output, headers, stop };
}

/** A gauge or counter of the edge's /metrics, summed over its labels; null when it is not there. */
export async function metric(product: Pick<Started, "url">, name: string): Promise<number | null> {
  const text = await (await fetch(`${product.url}/metrics`, { headers: { "cache-control": "no-cache" } })).text();
  const values = text.split("\n").filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
  return values.length === 0 ? null : values.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
}

/** Requests that a replica's engine has now. */
export async function runningAt(replica: StartedReplica): Promise<number> {
  return ((await (await fetch(`${replica.url}/healthz`)).json()) as { running: number }).running;
}
