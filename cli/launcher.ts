/** The edge and its replicas on this machine: started, watched, started again, drained, ended. */
import type { ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ensureDemoModel } from "../gpu-backend/engine/llama-cpp/demo-model/demo-model.ts";
import { bundleEdge } from "./bundle.ts";
import { devFile, type DevFacts, removeDevFile, writeDevFile } from "./dev-file.ts";
import { type EdgeOptions, type EdgeProcess, startWorkerd, startWranglerDev, waitingAt } from "./edge.ts";
import { poolNames, type ReplicaRole, roleOf, type StartOptions } from "./options.ts";
import { type ReplicaProcess, startReplica } from "./replica-process.ts";
import { screen } from "./screen.ts";
import type { Secrets } from "./secrets.ts";
import { type Claim, isOfDirectory, unusable } from "./state-directory.ts";
import { endOf, Voice } from "./voice.ts";
import { Watchdog } from "./watchdog-process.ts";
import { LINE_LEAVES_MS } from "../src/limits.ts";

const EDGE_RESTART_MS = 100;
const EDGE_RESTART_MOST_MS = 10_000;
/** A port that was free is tried again for so long: a connection that goes out may have it for a moment. */
const PORT_PATIENCE_MS = 15_000;
const PORT_RETRY_MS = 500;
const READY_TIMEOUT_MS = 60_000;
/** After the drain's time is up its replicas have so long to go; then the edge, to hand on the last bytes. */
const REPLICA_LEAVE_MS = 4_000;
const EDGE_LEAVE_MS = 500;

export class Launcher {
  readonly #options: StartOptions;
  readonly #pools: readonly string[];
  readonly #secrets: Secrets;
  readonly #claim: Claim & { ok: true };
  readonly #watchdog: Watchdog;
  readonly #replicas: ReplicaProcess[] = [];
  readonly #voice = new Voice();
  /** Of those that run and have joined. */
  readonly #urls = new Map<string, string>();
  /** What the edge runs in, from the moment it is spawned. */
  #edge: ChildProcess | null = null;
  /** What dev.json says besides the processes; null before all is ready, and from the end on. */
  #shown: Pick<DevFacts, "url" | "model"> | null = null;
  #bundle: string | null = null;
  #wasReady = false;
  #stopping = false;
  #draining = false;
  #onJoined: (() => void) | null = null;

  constructor(chosen: StartOptions, secrets: Secrets, claim: Claim & { ok: true }) {
    this.#options = chosen;
    this.#claim = claim;
    this.#watchdog = new Watchdog(devFile(chosen.stateDirectory));
    this.#pools = poolNames(chosen);
    this.#secrets = secrets;
  }

  async run(port: number): Promise<void> {
    const startedMs = performance.now();
    const { stateDirectory, model } = this.#options;
    this.#voice.begins(`http://127.0.0.1:${port}`, this.#wanted, stateDirectory);
    const modelPath = model ?? (await ensureDemoModel(stateDirectory, { making: () => this.#voice.making("the demo model") }));
    if (!existsSync(modelPath)) return this.stop(`There is no model file ${modelPath}. Give --model an existing GGUF file.`);
    this.#startReplicas(port, modelPath);
    if (!(await this.#startEdge(port))) return;
    this.#voice.step("the edge listens");
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
    this.#shown = null;
    removeDevFile(devFile(this.#options.stateDirectory), process.pid);
    for (const replica of this.#replicas) replica.cut();
    // With a socket open workerd would not go on SIGTERM; nothing stored is lost by this.
    this.#edge?.kill("SIGINT");
    this.#claim.release();
    process.exit(message === null ? 0 : 1);
  }

  /** Takes nothing new, and goes when what runs has ended or its time is up. The edge goes last: answers go through it. */
  async drain(): Promise<void> {
    this.#draining = true;
    const url = this.#shown?.url;
    this.#shown = null;
    removeDevFile(devFile(this.#options.stateDirectory), process.pid);
    const { drainSeconds } = this.#options;
    process.stderr.write(`Ending; answers that run have ${drainSeconds} s. Ctrl-C ends at once.\n`);
    const gone = Promise.all(this.#replicas.map((replica) => replica.drain()));
    await Promise.race([gone, sleep(drainSeconds * 1_000 + REPLICA_LEAVE_MS)]);
    await sleep(EDGE_LEAVE_MS);
    // Pools refuse who waits in line once they have forgotten their last replica.
    for (const fromMs = performance.now(); performance.now() - fromMs < LINE_LEAVES_MS; await sleep(EDGE_LEAVE_MS))
      if (url === undefined || (await waitingAt(url)) === 0) break;
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
      // Compiling sources again is half of what a replica's start takes.
      NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(this.#options.stateDirectory, "compile-cache"),
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
      // The demo model ends by chance only.
      ...(this.#options.model === null ? { WARMPATH_GRAMMAR_LIMITS: process.env.WARMPATH_GRAMMAR_LIMITS ?? "short" } : {}),
    };
    this.#replicas.push(
      startReplica(name, environment, {
        started: (_name, child) => this.#watchdog.watch(child.pid, "SIGINT"),
        joined: (joined, url) => {
          this.#urls.set(joined, url);
          this.#voice.joined(joined, this.#urls.size, this.#wanted);
          this.#onJoined?.();
          this.#show();
        },
        ended: (ended, pid, how) => {
          this.#watchdog.forget(pid);
          if (!this.#stopping && !this.#draining) this.#voice.died(ended, how);
          if (this.#urls.delete(ended)) this.#show();
        },
        failed: (_name, message, againMs) => this.#replicaFailed(message, againMs),
      }),
    );
  }

  /** Before all is ready that ends the start; afterwards the others go on. */
  #replicaFailed(message: string, againMs: number): void {
    if (this.#draining || this.#stopping) return;
    if (!this.#wasReady) return this.stop(message);
    process.stderr.write(`${message} The others go on; it is started again in ${Math.ceil(againMs / 1_000)} s.\n`);
  }

  /** From its first moment on: whatever ends the launcher meanwhile, it must not stay. */
  #spawnedEdge(child: ChildProcess): void {
    if (this.#stopping) return void child.kill("SIGKILL");
    this.#edge = child;
    this.#watchdog.watch(child.pid, this.#options.dev ? "SIGTERM" : "SIGINT");
    child.once("exit", () => this.#watchdog.forget(child.pid));
  }

  async #startEdge(port: number): Promise<boolean> {
    const beganMs = performance.now();
    let edge = await this.#tryEdge(port);
    while (edge.type === "failed" && edge.taken === true && performance.now() - beganMs < PORT_PATIENCE_MS && !this.#stopping) {
      await sleep(PORT_RETRY_MS);
      edge = await this.#tryEdge(port);
    }
    if (edge.type === "failed") {
      this.stop(edge.message);
      return false;
    }
    this.#watchEdge(edge.process, port);
    return true;
  }

  /** Whatever ends it, again and again, ever later: what replicas hold is worth waiting for. */
  async #restartEdge(port: number): Promise<void> {
    for (let againMs = EDGE_RESTART_MS; !this.#stopping; againMs = Math.min(EDGE_RESTART_MOST_MS, 2 * againMs)) {
      await sleep(againMs);
      if (this.#stopping) return;
      const edge = await this.#tryEdge(port);
      if (edge.type === "running") {
        this.#voice.joined("The edge", 1, 1);
        return this.#watchEdge(edge.process, port);
      }
      if (this.#draining) return this.stop("The edge ended before the drain had: answers that ran are lost.");
      process.stderr.write(`${edge.message} It is tried again.\n`);
    }
  }

  #watchEdge(edge: ChildProcess, port: number): void {
    const ended = (): void => {
      this.#edge = null;
      this.#show();
      if (this.#stopping) return;
      if (this.#draining) return this.stop("The edge ended before the drain had: answers that ran are lost.");
      this.#voice.died("The edge", endOf(edge.exitCode, edge.signalCode));
      void this.#restartEdge(port);
    };
    this.#show();
    // It may have ended since it said that it listens.
    if (edge.exitCode !== null || edge.signalCode !== null) ended();
    else edge.once("exit", ended);
  }

  async #tryEdge(port: number): Promise<EdgeProcess> {
    const { WARMPATH_REMOTE_PREFILL_TOKENS: remotePrefillTokens, WARMPATH_MODELS: models } = process.env;
    const edgeOptions: EdgeOptions = {
      port,
      stateDirectory: this.#options.stateDirectory,
      spawned: (child) => this.#spawnedEdge(child),
      variables: {
        WARMPATH_SECRET: this.#secrets.deployment,
        WARMPATH_POOLS: this.#pools.join(","),
        WARMPATH_PROFILE: this.#options.profile,
        ...(remotePrefillTokens === undefined ? {} : { WARMPATH_REMOTE_PREFILL_TOKENS: remotePrefillTokens }),
        ...(models === undefined ? {} : { WARMPATH_MODELS: models }),
      },
    };
    return (this.#options.dev ? startWranglerDev(edgeOptions) : this.#startBundled(edgeOptions)).catch((error: unknown) => ({
      type: "failed",
      message: problemOf(this.#options.stateDirectory, error, "The edge could not be built"),
    }));
  }

  /** An edge that died comes back as it was, whatever has become of the sources meanwhile. */
  async #startBundled(edgeOptions: EdgeOptions): Promise<EdgeProcess> {
    this.#bundle ??= await bundleEdge(edgeOptions.stateDirectory, (child) => {
      this.#voice.making("the edge's bundle");
      this.#watchdog.watch(child.pid, "SIGTERM");
      child.once("exit", () => this.#watchdog.forget(child.pid));
    });
    return startWorkerd(edgeOptions, this.#bundle);
  }

  /** dev.json as things are now; none while it would not be true. */
  #show(): void {
    const { stateDirectory } = this.#options;
    const edge = this.#edge?.pid;
    if (this.#shown === null || edge === undefined) return removeDevFile(devFile(stateDirectory), process.pid);
    const replicas = this.#replicas.flatMap((replica, index) => {
      const [url, pid] = [this.#urls.get(replica.name), replica.pid()];
      return url === undefined || pid === undefined ? [] : [{ name: replica.name, url, ...this.#placeOf(index + 1), pid }];
    });
    const { url, model } = this.#shown;
    const { apiKey } = this.#secrets;
    try {
      writeDevFile(stateDirectory, { url, apiKey, model, launcher: { pid: process.pid }, edge: { pid: edge }, replicas });
    } catch (error) {
      // What runs goes on; what can't be written must not stay untrue.
      removeDevFile(devFile(stateDirectory), null);
      process.stderr.write(`${unusable(stateDirectory, error)}\n`);
    }
  }

  async #announceReady(url: string, readyMs: number): Promise<void> {
    const headers = { authorization: `Bearer ${this.#secrets.apiKey}` };
    const listed = (await (await fetch(`${url}/v1/models`, { headers })).json()) as { data: { id: string }[] };
    const model = listed.data[0]?.id ?? "";
    this.#shown = { url, model };
    this.#wasReady = true;
    this.#voice.ready();
    this.#show();
    const { replicas, pools, topology, model: given } = this.#options;
    const shown = { url, apiKey: this.#secrets.apiKey, model, replicas, pools, topology, readyMs, demo: given === null };
    process.stdout.write(screen(shown));
  }
}

/** As one line. */
export function problemOf(stateDirectory: string, error: unknown, what: string): string {
  if (isOfDirectory(stateDirectory, error)) return unusable(stateDirectory, error);
  return `${what}: ${(error instanceof Error ? error.message : String(error)).split("\n", 1)[0]}`;
}
