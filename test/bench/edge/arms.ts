/** What stands between the load and the mock replicas: nothing, a plain passthrough worker, the edge, SMG. */
import type { ApiName } from "../../../src/wire/api-table.ts";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { bundleEdge } from "../../../cli/bundle.ts";
import { startWorkerd } from "../../../cli/edge.ts";
import { choosePort } from "../../../cli/port.ts";
import { loadSecrets, type Secrets } from "../../../cli/secrets.ts";
import { wranglerConfig } from "../../../cli/wrangler-config.ts";

export const POOL = "bench";
const START_MS = 30_000;

export interface Arm {
  name: "direct" | "passthrough" | "edge" | "base" | "smg" | ApiName;
  /** Which API is called; chat where nothing is said. */
  api?: ApiName;
  origin: string;
  headers: Record<string, string>;
  /** Whose CPU counts; null for direct. */
  pid: number | null;
}

export interface Edge extends Arm {
  secrets: Secrets;
  /** The command line that runs it and what belongs into its environment, to run it again otherwise. */
  command: readonly string[];
  environment: Record<string, string>;
  /** Ports by socket name and, for an inspector, `inspector`. */
  ports: Readonly<Record<string, number>>;
  end(): Promise<void>;
}

const require = createRequire(import.meta.url);
const WORKERD = (require("workerd") as { default: string }).default;
const started = new Set<ChildProcess>();
const folders: string[] = [];

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "warmpath-bench-"));
  folders.push(folder);
  return folder;
}

export function endArms(): void {
  for (const child of started) child.kill("SIGKILL");
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
}

async function end(child: ChildProcess): Promise<void> {
  started.delete(child);
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await ended;
}

export async function startEdge(): Promise<Edge> {
  const folder = temporaryFolder();
  const secrets = loadSecrets(folder);
  const environment = { WARMPATH_SECRET: secrets.deployment, WARMPATH_POOLS: POOL };
  const edge = await startWorkerd({ port: 0, stateDirectory: folder, variables: environment }, await bundleEdge(folder));
  if (edge.type === "failed") throw new Error(edge.message);
  started.add(edge.process);
  return {
    name: "edge",
    origin: `http://127.0.0.1:${edge.port}`,
    headers: { authorization: `Bearer ${secrets.apiKey}` },
    pid: edge.process.pid ?? null,
    secrets,
    command: edge.process.spawnargs.slice(1),
    environment,
    ports: { http: edge.port },
    end: () => end(edge.process),
  };
}

/** The port of each wanted socket, by what workerd says on fd 3. */
async function spawnWorkerd(
  command: readonly string[],
  environment: Record<string, string>,
  sockets: readonly string[],
): Promise<{ child: ChildProcess; ports: Record<string, number> }> {
  const child = spawn(WORKERD, command, { stdio: ["ignore", "inherit", "inherit", "pipe"], env: { ...process.env, ...environment } });
  started.add(child);
  const ports: Record<string, number> = {};
  await new Promise<void>((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`workerd ended with ${code}`)));
    createInterface({ input: child.stdio[3] as Readable }).on("line", (line) => {
      const said = JSON.parse(line) as { event: string; socket?: string; port: number };
      ports[said.event === "listen-inspector" ? "inspector" : (said.socket ?? "")] = said.port;
      if (sockets.every((socket) => socket in ports)) resolve();
    });
  });
  return { child, ports };
}

/** The same bundle under a workerd of ours: with an inspector, or with more services in its configuration. */
export async function restartEdge(
  edge: Edge,
  how: { inspector?: boolean; edit?: (capnp: string) => string; files?: Record<string, string>; sockets?: readonly string[] },
): Promise<Edge> {
  await edge.end();
  const file = edge.command[1] ?? "";
  const folder = dirname(file);
  for (const [name, text] of Object.entries(how.files ?? {})) writeFileSync(join(folder, name), text);
  const edited = join(folder, "bench.capnp");
  writeFileSync(edited, (how.edit ?? ((text: string) => text))(readFileSync(file, "utf8")));
  const more = (how.sockets ?? []).flatMap((socket) => ["-s", `${socket}=127.0.0.1:0`]);
  const inspector = how.inspector === true ? ["--inspector-addr=127.0.0.1:0"] : [];
  const command = ["serve", edited, ...edge.command.slice(2), ...more, ...inspector];
  const wanted = ["http", ...(how.sockets ?? []), ...(how.inspector === true ? ["inspector"] : [])];
  const { child, ports } = await spawnWorkerd(command, edge.environment, wanted);
  return {
    ...edge,
    origin: `http://127.0.0.1:${ports["http"]}`,
    pid: child.pid ?? null,
    ports,
    command: edge.command,
    end: () => end(child),
  };
}

const PASSTHROUGH = `export default {
  fetch(request, env) {
    return fetch(env.UPSTREAM + new URL(request.url).pathname, request);
  },
};
`;
const PASSTHROUGH_CAPNP = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "pass", worker = .pass),
    (name = "internet", network = (allow = ["public", "private"])),
  ],
  sockets = [(name = "http", http = (), service = "pass")],
);
const pass :Workerd.Worker = (
  modules = [(name = "pass.js", esModule = embed "pass.js")],
  compatibilityDate = "${wranglerConfig().compatibilityDate}",
  bindings = [(name = "UPSTREAM", fromEnvironment = "UPSTREAM")],
);
`;

/** The platform's floor: bytes in, bytes out, no JavaScript touches them. */
export async function startPassthrough(upstreamPort: number): Promise<Arm> {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "pass.js"), PASSTHROUGH);
  writeFileSync(join(folder, "pass.capnp"), PASSTHROUGH_CAPNP);
  const command = ["serve", join(folder, "pass.capnp"), "-s", "http=127.0.0.1:0", "--control-fd=3"];
  const { child, ports } = await spawnWorkerd(command, { UPSTREAM: `http://127.0.0.1:${upstreamPort}` }, ["http"]);
  return { name: "passthrough", origin: `http://127.0.0.1:${ports["http"]}`, headers: {}, pid: child.pid ?? null };
}

/** The peer takes no port 0. None that a connection going out could take before the peer has it. */
async function peerPort(): Promise<string> {
  const port = await choosePort(0);
  if (port === null) throw new Error("No port is free.");
  return String(port);
}

/** The peer, as its users run it: `smg launch`, cache_aware, everything else as it comes. */
export async function startSmg(smg: string, workers: readonly number[]): Promise<Arm> {
  const port = await peerPort();
  const logs = join(temporaryFolder(), "logs");
  mkdirSync(logs);
  const urls = workers.map((worker) => `http://127.0.0.1:${worker}`);
  const prometheus = await peerPort();
  const options = ["--policy", "cache_aware", "--host", "127.0.0.1", "--port", port, "--prometheus-port", prometheus];
  const child = spawn(smg, ["launch", "--worker-urls", ...urls, ...options, "--log-level", "error"], {
    stdio: ["ignore", "ignore", "inherit"],
    cwd: logs,
  });
  started.add(child);
  const origin = `http://127.0.0.1:${port}`;
  for (const startedMs = performance.now(); performance.now() - startedMs < START_MS;) {
    const models = await fetch(`${origin}/v1/models`, { signal: AbortSignal.timeout(1_000) }).then(
      (response) => response.text(),
      () => "",
    );
    if (models.includes("bench-model")) return { name: "smg", origin, headers: {}, pid: child.pid ?? null };
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  throw new Error("SMG did not take up the mock replicas within 30 s");
}
