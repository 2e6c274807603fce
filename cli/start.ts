/** `npm start`: the edge and a few llama.cpp replicas on this machine, one screen, and nothing left behind. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ensureDemoModel } from "../gpu-backend/model/demo-model.ts";
import { bundleEdge } from "./bundle.ts";
import { type EdgeOptions, type EdgeProcess, startWorkerd, startWranglerDev } from "./edge.ts";
import { parseOptions, poolNames, type ReplicaRole, roleOf, type StartOptions, USAGE } from "./options.ts";
import { type ReplicaProcess, startReplica } from "./replica-process.ts";
import { screen } from "./screen.ts";
import { loadSecrets, type Secrets } from "./secrets.ts";

const EDGE_RESTART_MS = 100;
const READY_TIMEOUT_MS = 60_000;
/** After the drain's time is up its replicas have so long to go; then the edge, to hand on the last bytes. */
const REPLICA_LEAVE_MS = 4_000;
const EDGE_LEAVE_MS = 500;

function fail(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

function options(): StartOptions {
  try {
    const parsed = parseOptions(process.argv.slice(2));
    if (parsed !== "help") return parsed;
  } catch (error) {
    fail(`${error instanceof Error ? error.message : "The options are not understood."}\n\n${USAGE}`);
  }
  process.stdout.write(`${USAGE}\n`);
  process.exit(0);
}

/** Replicas need the edge's address before the edge listens, so a free port is chosen first; workerd says so if it was taken meanwhile. */
async function choosePort(wanted: number): Promise<number> {
  const server = createServer();
  const port = await new Promise<number>((resolve, reject) => {
    server.once("error", reject);
    server.listen(wanted, "127.0.0.1", () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : wanted);
    });
  }).catch(() => fail(`Port ${wanted} is taken. Choose another with --port, or --port 0 for any free one.`));
  server.close();
  return port;
}

interface Watchdog {
  watch(pid: number | undefined, signal: NodeJS.Signals): void;
  forget(pid: number | undefined): void;
}

function startWatchdog(): Watchdog {
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", join(import.meta.dirname, "watchdog.ts")], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  child.stdin.on("error", () => undefined);
  return {
    watch: (pid, signal) => void (pid !== undefined && child.stdin.write(`+${pid} ${signal}\n`)),
    forget: (pid) => void (pid !== undefined && child.stdin.write(`-${pid}\n`)),
  };
}

class Launcher {
  readonly #options: StartOptions;
  readonly #pools: readonly string[];
  readonly #secrets: Secrets;
  readonly #watchdog = startWatchdog();
  readonly #replicas: ReplicaProcess[] = [];
  readonly #urls = new Map<string, string>();
  #edge: ChildProcess | null = null;
  #bundle: string | null = null;
  #stopping = false;
  #draining = false;
  #onJoined: (() => void) | null = null;

  constructor(chosen: StartOptions, secrets: Secrets) {
    this.#options = chosen;
    this.#pools = poolNames(chosen);
    this.#secrets = secrets;
  }

  async run(port: number): Promise<void> {
    const startedMs = performance.now();
    const { stateDirectory, model } = this.#options;
    const modelPath = model ?? (await ensureDemoModel(stateDirectory));
    if (!existsSync(modelPath)) return this.stop(`There is no model file ${modelPath}. Give --model an existing GGUF file.`);
    this.#startReplicas(port, modelPath);
    if (!(await this.#startEdge(port))) return;
    const joined = await Promise.race([
      new Promise<true>((resolve) => {
        this.#onJoined = () => this.#urls.size === this.#wanted && resolve(true);
        this.#onJoined();
      }),
      sleep(READY_TIMEOUT_MS, false as const, { ref: false }),
    ]);
    if (!joined) return this.stop(`Only ${this.#urls.size} of ${this.#wanted} replicas joined within ${READY_TIMEOUT_MS / 1000} s.`);
    await this.#announceReady(`http://127.0.0.1:${port}`, performance.now() - startedMs);
  }

  get #wanted(): number {
    return this.#options.replicas * this.#pools.length;
  }

  get isDraining(): boolean {
    return this.#draining;
  }

  /** At once: what runs is cut. */
  stop(message: string | null): void {
    if (this.#stopping) return;
    this.#stopping = true;
    if (message !== null) process.stderr.write(`${message}\n`);
    for (const replica of this.#replicas) replica.cut();
    // With a socket open workerd would not go on SIGTERM; nothing stored is lost by this.
    this.#edge?.kill("SIGINT");
    process.exit(message === null ? 0 : 1);
  }

  /** Takes nothing new, and goes when what runs has ended or its time is up. The edge goes last: answers go through it. */
  async drain(): Promise<void> {
    this.#draining = true;
    const { drainSeconds } = this.#options;
    process.stderr.write(`Ending; answers that run have ${drainSeconds} s. Ctrl-C ends at once.\n`);
    const gone = Promise.all(this.#replicas.map((replica) => replica.drain()));
    await Promise.race([gone, sleep(drainSeconds * 1_000 + REPLICA_LEAVE_MS)]);
    await sleep(EDGE_LEAVE_MS);
    this.stop(null);
  }

  #startReplicas(port: number, modelPath: string): void {
    for (let i = 1; i <= this.#wanted; i++) this.#startReplica(port, modelPath, `replica-${i}`, this.#placeOf(i));
  }

  /** Of the `number`th replica, from 1: pool after pool. */
  #placeOf(number: number): { pool: string; role: ReplicaRole } {
    const { replicas, topology } = this.#options;
    const pool = this.#pools[Math.floor((number - 1) / replicas)] ?? "default";
    return { pool, role: roleOf(topology, ((number - 1) % replicas) + 1) };
  }

  #startReplica(port: number, modelPath: string, name: string, { pool, role }: { pool: string; role: ReplicaRole }): void {
    const disk = process.env.WARMPATH_DISK_DIRECTORY ?? join(this.#options.stateDirectory, "blocks");
    // Over what this process was given, which reaches every replica as it is: the tiers' sizes (WARMPATH_HOST_BYTES, WARMPATH_DISK_BYTES), the store.
    const environment = {
      WARMPATH_JOIN: `ws://127.0.0.1:${port}/announce/${pool}`,
      WARMPATH_JOIN_TOKEN: this.#secrets.joinToken(pool),
      WARMPATH_REPLICA: name,
      WARMPATH_MODEL: modelPath,
      WARMPATH_ROLES: role,
      WARMPATH_MACHINE: "here",
      WARMPATH_DISK_DIRECTORY: join(disk, name),
      WARMPATH_SEQUENCES: String(this.#options.sequences),
      WARMPATH_CONTEXT_TOKENS: String(this.#options.contextTokens),
      WARMPATH_DRAIN_SECONDS: String(this.#options.drainSeconds),
    };
    this.#replicas.push(
      startReplica(name, environment, {
        started: (_name, child) => this.#watchdog.watch(child.pid, "SIGINT"),
        joined: (joined, url) => {
          this.#urls.set(joined, url);
          this.#onJoined?.();
        },
        ended: (_name, pid) => this.#watchdog.forget(pid),
        failed: (_name, message) => (this.#draining ? undefined : this.stop(message)),
      }),
    );
  }

  async #startEdge(port: number): Promise<boolean> {
    const { WARMPATH_REMOTE_PREFILL_TOKENS: remotePrefillTokens, WARMPATH_MODELS: models } = process.env;
    const edgeOptions: EdgeOptions = {
      port,
      stateDirectory: this.#options.stateDirectory,
      variables: {
        WARMPATH_SECRET: this.#secrets.deployment,
        WARMPATH_POOLS: this.#pools.join(","),
        WARMPATH_PROFILE: this.#options.profile,
        ...(remotePrefillTokens === undefined ? {} : { WARMPATH_REMOTE_PREFILL_TOKENS: remotePrefillTokens }),
        ...(models === undefined ? {} : { WARMPATH_MODELS: models }),
      },
    };
    const edge: EdgeProcess = await (this.#options.dev ? startWranglerDev(edgeOptions) : this.#startBundled(edgeOptions)).catch(
      (error: unknown) => ({
        type: "failed" as const,
        message: `The edge could not be built: ${error instanceof Error ? error.message : "unknown"}`,
      }),
    );
    if (edge.type === "failed") {
      this.stop(edge.message);
      return false;
    }
    this.#edge = edge.process;
    this.#watchdog.watch(edge.process.pid, this.#options.dev ? "SIGTERM" : "SIGINT");
    edge.process.once("exit", () => {
      this.#watchdog.forget(edge.process.pid);
      if (this.#stopping || this.#draining) return;
      process.stderr.write("The edge ended; starting it again.\n");
      setTimeout(() => void this.#startEdge(port), EDGE_RESTART_MS);
    });
    return true;
  }

  /** An edge that died comes back as it was, whatever has become of the sources meanwhile. */
  async #startBundled(edgeOptions: EdgeOptions): Promise<EdgeProcess> {
    this.#bundle ??= await bundleEdge(edgeOptions.stateDirectory);
    return startWorkerd(edgeOptions, this.#bundle);
  }

  async #announceReady(url: string, readyMs: number): Promise<void> {
    const headers = { authorization: `Bearer ${this.#secrets.apiKey}` };
    const listed = (await (await fetch(`${url}/v1/models`, { headers })).json()) as { data: { id: string }[] };
    const model = listed.data[0]?.id ?? "";
    const ready = {
      url,
      apiKey: this.#secrets.apiKey,
      model,
      edge: { pid: this.#edge?.pid },
      replicas: this.#replicas.map((replica, index) => ({
        name: replica.name,
        url: this.#urls.get(replica.name),
        ...this.#placeOf(index + 1),
        pid: replica.pid(),
      })),
    };
    const file = join(this.#options.stateDirectory, "dev.json");
    writeFileSync(`${file}.new`, `${JSON.stringify(ready, null, 2)}\n`, { mode: 0o600 });
    renameSync(`${file}.new`, file);
    const { replicas, pools, topology, model: given } = this.#options;
    const shown = { url, apiKey: this.#secrets.apiKey, model, replicas, pools, topology, readyMs, demo: given === null };
    process.stdout.write(screen(shown));
  }
}

/** When npm is killed its shell is not told, and neither are we: a new parent means that the old one died. */
function watchParent(onGone: () => void): void {
  if (process.env.npm_lifecycle_event === undefined) return;
  const parent = process.ppid;
  setInterval(() => process.ppid !== parent && onGone(), 250).unref();
}

const chosen = options();
const port = await choosePort(chosen.port);
mkdirSync(chosen.stateDirectory, { recursive: true, mode: 0o700 });
const launcher = new Launcher(chosen, loadSecrets(chosen.stateDirectory));
process.on("SIGTERM", () => (launcher.isDraining ? launcher.stop(null) : void launcher.drain()));
for (const signal of ["SIGINT", "SIGHUP"] as const) process.on(signal, () => launcher.stop(null));
// While it drains it ends by itself.
watchParent(() => (launcher.isDraining ? undefined : launcher.stop(null)));
await launcher.run(port);
