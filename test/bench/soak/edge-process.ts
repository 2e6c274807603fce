/** The edge under bare workerd, killed and started again on the same port and the same state directory. */
import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ChildProcess } from "node:child_process";
import { bundleEdge } from "../../../cli/bundle.ts";
import { startWorkerd } from "../../../cli/edge.ts";
import { loadSecrets, type Secrets } from "../../../cli/secrets.ts";
import type { DiskSpace } from "../../../src/records/disk-room.ts";

export const POOL = "default";

const running = new Set<ChildProcess>();
const folders = new Set<string>();

async function temporaryFolder(name: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), name));
  folders.add(folder);
  return folder;
}

async function removeFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  folders.delete(folder);
}

/** When this process ends before its time: no edge and no folder stays. */
export function endEdges(): void {
  for (const child of running) child.kill("SIGKILL");
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
}

/** Built once, in a folder of its own: others may build from other sources meanwhile. */
export async function makeBundle(): Promise<{ path: string; remove(): Promise<void> }> {
  const folder = await temporaryFolder("warmpath-soak-bundle-");
  return { path: await bundleEdge(folder), remove: () => removeFolder(folder) };
}

export class SoakEdge {
  readonly stateDirectory: string;
  readonly secrets: Secrets;
  readonly #bundle: string;
  readonly #diskSpace: (() => Promise<DiskSpace>) | undefined;
  #child: ChildProcess | null = null;
  #port = 0;
  #lives = 0;
  #startedAtMs = 0;
  #up: Promise<void> = Promise.resolve();

  private constructor(stateDirectory: string, bundle: string, diskSpace: (() => Promise<DiskSpace>) | undefined) {
    this.stateDirectory = stateDirectory;
    this.secrets = loadSecrets(stateDirectory);
    this.#bundle = bundle;
    this.#diskSpace = diskSpace;
  }

  /** `diskSpace`: what the edge is to believe of its disk; left out, the truth. */
  static async start(bundle: string, diskSpace?: () => Promise<DiskSpace>): Promise<SoakEdge> {
    const edge = new SoakEdge(await temporaryFolder("warmpath-soak-"), bundle, diskSpace);
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
    await removeFolder(this.stateDirectory);
  }

  async #kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await gone;
    running.delete(child);
  }

  async #start(): Promise<void> {
    const variables = { WARMPATH_SECRET: this.secrets.deployment, WARMPATH_POOLS: POOL };
    const options = { port: this.#port, stateDirectory: this.stateDirectory, variables };
    const diskSpace = this.#diskSpace;
    const started = await startWorkerd(diskSpace === undefined ? options : { ...options, diskSpace }, this.#bundle);
    if (started.type === "failed") throw new Error(started.message);
    this.#port = started.port;
    this.#child = started.process;
    running.add(started.process);
    this.#lives++;
    this.#startedAtMs = Date.now();
  }
}
