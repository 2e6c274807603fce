/** The edge as a process: the bundle under bare workerd, which is what runs in production without Cloudflare; or `wrangler dev`. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { dyingWithParent } from "../gpu-backend/dies-with-parent.ts";
import { withoutOurs } from "../gpu-backend/environment.ts";
import { BUILD_LIMIT_MS, quietWrangler, ROOT, WRANGLER } from "./bundle.ts";
import { firstWords } from "./edge-output.ts";
import { takenPort } from "./port.ts";
import { endOf } from "./launch-messages.ts";
import { type WranglerConfig, wranglerConfig } from "./wrangler-config.ts";
import { readRegularSync } from "../gpu-backend/regular-file.ts";
import { MOST_BYTES, writePrivately } from "./state-directory.ts";
import type { DiskSpace } from "../src/records/disk-room.ts";
import { serveDiskSpace, spaceOf } from "./disk-space.ts";

const require = createRequire(import.meta.url);
const HOST = "127.0.0.1";
/** Characters of what workerd wrote last, for the reason why it did not start. */
const MOST_ERRORS = 4_000;
/** What the edge can't find out by itself: that nobody but this machine reaches it (workers/env.ts). */
const LISTENS = { WARMPATH_LISTENS: "loopback" };

export interface EdgeOptions {
  port: number;
  stateDirectory: string;
  /** Names and values of the Worker's variables, secret ones too. Its replicas may be at private addresses unless one says otherwise. */
  variables: Readonly<Record<string, string>>;
  /** Called with its process as soon as there is one, long before it serves. */
  spawned?: (process: ChildProcess) => void;
  /** Of the disk below the objects; left out, the state directory's own. */
  diskSpace?: () => Promise<DiskSpace>;
  /** Hears each line that its process writes; left out, they go to standard error. */
  said?: (line: string) => void;
}

/** The edge listens on this machine only, and so do its replicas. */
const ADDRESSES = { WARMPATH_REPLICA_ADDRESSES: "private" };

export type EdgeProcess =
  | { type: "running"; process: ChildProcess; port: number }
  /** `taken`: another process has its port, maybe for a moment only. */
  | { type: "failed"; message: string; taken?: boolean };

/** And the name of the folder that a class of objects is stored in. */
const uniqueKey = (className: string): string => `warmpath-${className}`;

/** Made anew at each start: the bundle's file names are content hashes. */
function writeCapnp(
  variables: EdgeOptions["variables"],
  { compatibilityDate, compatibilityFlags, objects }: WranglerConfig,
  bundle: string,
): string {
  const allowed = variables.WARMPATH_REPLICA_ADDRESSES === "public" ? '"public"' : '"public", "private"';
  const wasm = readdirSync(bundle).filter((file) => file.endsWith(".wasm"));
  const text = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "edge", worker = .edge),
    (name = "objects", disk = (writable = true)),
    # Replicas are reached by it. workerd refuses other addresses when it connects, whatever their names resolve to.
    (name = "internet", network = (allow = [${allowed}], tlsOptions = (trustBrowserCas = true))),
    # The launcher, which says how much room the disk has.
    (name = "disk", external = (http = ())),
  ],
  sockets = [(name = "http", http = (), service = "edge")],
);
const edge :Workerd.Worker = (
  modules = [
    (name = "router.js", esModule = embed "router.js"),
${wasm.map((file) => `    (name = "${file}", wasm = embed "${file}"),`).join("\n")}
  ],
  compatibilityDate = ${JSON.stringify(compatibilityDate)},
  compatibilityFlags = ${JSON.stringify(compatibilityFlags)},
  bindings = [
${objects.map(({ binding, className }) => `    (name = "${binding}", durableObjectNamespace = "${className}"),`).join("\n")}
    (name = "DISK", service = "disk"),
${Object.keys(variables)
  .map((name) => `    (name = "${name}", fromEnvironment = "${name}"),`)
  .join("\n")}
  ],
  durableObjectNamespaces = [
${objects.map(({ className }) => `    (className = "${className}", uniqueKey = "${uniqueKey(className)}", enableSql = true),`).join("\n")}
  ],
  durableObjectStorage = (localDisk = "objects"),
);
`;
  const file = join(bundle, "config.capnp");
  // An edge that died starts again on a full disk, too.
  if (!existsSync(file) || String(readRegularSync(file, MOST_BYTES)) !== text) writePrivately(file, text);
  return file;
}

const toStandardError = (line: string): void => void process.stderr.write(`${line}\n`);

/** Each line of its output and its errors. */
export function hearLines({ stdout, stderr }: ChildProcess, said = toStandardError): void {
  for (const stream of [stdout, stderr]) if (stream !== null) createInterface({ input: stream }).on("line", said);
}

/** Starts workerd on a bundle of `bundleEdge` and resolves once it listens. */
export async function startWorkerd(options: EdgeOptions, bundle: string): Promise<EdgeProcess> {
  const variables = { ...ADDRESSES, ...options.variables, ...LISTENS };
  const objects = join(options.stateDirectory, "objects");
  mkdirSync(objects, { recursive: true, mode: 0o700 });
  const config = wranglerConfig();
  for (const deleted of config.deletedClasses) rmSync(join(objects, uniqueKey(deleted)), { recursive: true, force: true });
  const disk = await serveDiskSpace(options.diskSpace ?? (() => spaceOf(objects)));
  const capnp = writeCapnp(variables, config, bundle);
  const workerd = require("workerd") as { default: string };
  const places = ["-d", `objects=${objects}`, "-e", `disk=${HOST}:${disk.port}`, "-s", `http=${HOST}:${options.port}`];
  const child = spawn(...dyingWithParent(workerd.default, ["serve", capnp, ...places, "--control-fd=3"]), {
    stdio: ["ignore", "pipe", "pipe", "pipe"],
    env: { ...withoutOurs(process.env), ...variables },
  });
  child.once("close", () => disk.close());
  options.spawned?.(child);
  let errors = "";
  child.stderr?.on("data", (text: Buffer) => {
    errors = (errors + text.toString()).slice(-MOST_ERRORS);
  });
  hearLines(child, options.said);
  return new Promise((resolve) => {
    child.once("error", (error) => resolve({ type: "failed", message: `workerd did not start: ${error.message}` }));
    child.once("exit", (code, signal) => {
      const taken = /Address already in use/i.test(errors);
      const why = [`it ended with ${endOf(code, signal)}`, firstWords(errors)].filter((part) => part !== "").join("; ");
      resolve({ type: "failed", taken, message: taken ? takenPort(options.port) : `workerd did not start: ${why}.` });
    });
    createInterface({ input: child.stdio[3] as Readable }).on("line", (line) => {
      const said = JSON.parse(line) as { event?: string; port?: number };
      if (said.event === "listen" && said.port !== undefined) resolve({ type: "running", process: child, port: said.port });
    });
  });
}

/** Starts `wrangler dev`, which builds by itself and reloads on every change of a source. */
export async function startWranglerDev(options: EdgeOptions): Promise<EdgeProcess> {
  const variables = join(options.stateDirectory, "dev.vars");
  const lines = Object.entries({ ...ADDRESSES, ...options.variables, ...LISTENS }).map(([name, value]) => `${name}='${value}'\n`);
  writePrivately(variables, lines.join(""));
  const persisted = join(options.stateDirectory, "wrangler");
  const dev = [WRANGLER, "dev", "--port", String(options.port), "--ip", HOST, "--persist-to", persisted, "--env-file", variables];
  // It has processes of its own, which SIGKILL would leave behind.
  const child = spawn(...dyingWithParent(process.execPath, dev, "TERM"), {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
    env: quietWrangler(options.stateDirectory),
  });
  options.spawned?.(child);
  hearLines(child, options.said);
  let ended = false;
  child.once("close", () => (ended = true));
  for (const startedMs = performance.now(); performance.now() - startedMs < BUILD_LIMIT_MS && !ended;) {
    const answered = await fetch(`http://${HOST}:${options.port}/healthz`, { signal: AbortSignal.timeout(2_000) }).then(
      () => true,
      () => false,
    );
    if (answered) return { type: "running", process: child, port: options.port };
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const how = ended ? `it ended with ${endOf(child.exitCode, child.signalCode)}` : `it did not answer within ${BUILD_LIMIT_MS / 1_000} s`;
  child.kill();
  return { type: "failed", message: `wrangler dev did not start: ${how}. What it said stands above.` };
}

/** Requests that wait in line for a replica, all pools together; 0 when no edge answers. */
export async function waitingAt(url: string): Promise<number> {
  const page = await fetch(`${url}/metrics`, { headers: { "cache-control": "no-cache" }, signal: AbortSignal.timeout(2_000) }).then(
    (response) => response.text(),
    () => "",
  );
  return [...page.matchAll(/^warmpath_router_queue_pending_requests(?:{.*})? (\d+)$/gm)].reduce(
    (sum, [, waiting]) => sum + Number(waiting),
    0,
  );
}
