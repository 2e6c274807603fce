/** The edge under bare workerd, killed and started again on the same port and the same state directory. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ChildProcess } from "node:child_process";
import { bundleEdge } from "../../../cli/bundle.ts";
import { startWorkerd } from "../../../cli/edge.ts";
import { loadSecrets, type Secrets } from "../../../cli/secrets.ts";

export const POOL = "default";

/** Built once, in a folder of its own: others may build from other sources meanwhile. */
export async function makeBundle(): Promise<{ path: string; remove(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), "warmpath-soak-bundle-"));
  return { path: await bundleEdge(folder), remove: () => rm(folder, { recursive: true, force: true }) };
}

export class SoakEdge {
  readonly stateDirectory: string;
  readonly secrets: Secrets;
  readonly #bundle: string;
  #child: ChildProcess | null = null;
  #port = 0;
  #lives = 0;
  #startedAtMs = 0;
  #up: Promise<void> = Promise.resolve();

  private constructor(stateDirectory: string, bundle: string) {
    this.stateDirectory = stateDirectory;
    this.secrets = loadSecrets(stateDirectory);
    this.#bundle = bundle;
  }

  static async start(bundle: string): Promise<SoakEdge> {
    const edge = new SoakEdge(await mkdtemp(join(tmpdir(), "warmpath-soak-")), bundle);
    await edge.#start();
    return edge;
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** From 1. */
  get life(): number {
    return this.#lives;
  }

  /** Of this life, ms since 1970. */
  get startedAtMs(): number {
    return this.#startedAtMs;
  }

  get isUp(): boolean {
    return this.#child !== null;
  }

  /** Resolves while it is up, else when it is again. */
  get up(): Promise<void> {
    return this.#up;
  }

  get headers(): Record<string, string> {
    return { authorization: `Bearer ${this.secrets.apiKey}`, "content-type": "application/json" };
  }

  /** kill -9, and a new process on what the old one left. */
  killAndRestart(): Promise<void> {
    this.#up = this.#kill().then(() => this.#start());
    return this.#up;
  }

  async end(): Promise<void> {
    await this.#kill();
    await rm(this.stateDirectory, { recursive: true, force: true, maxRetries: 5 });
  }

  async #kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await gone;
  }

  async #start(): Promise<void> {
    const variables = { WARMPATH_SECRET: this.secrets.deployment, WARMPATH_POOLS: POOL, WARMPATH_PROFILE: "cache-aware" };
    const started = await startWorkerd({ port: this.#port, stateDirectory: this.stateDirectory, variables }, this.#bundle);
    if (started.type === "failed") throw new Error(started.message);
    this.#port = started.port;
    this.#child = started.process;
    this.#lives++;
    this.#startedAtMs = Date.now();
  }
}
