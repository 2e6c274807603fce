/** What a started product takes of its machine, at one moment. */
import { readdir, readFile, readlink, stat } from "node:fs/promises";
import { join } from "node:path";
import { childrenOf, edgePid, familyOf, replicaPid } from "../../e2e/processes.ts";
import { metric, type Started } from "../../e2e/started.ts";
import { sum } from "./figures.ts";

export interface Sample {
  atMs: number;
  rssBytes: { launcher: number; edge: number; replicas: number; engines: number; all: number };
  processes: number;
  /** Of each replica's disk tier. */
  disk: { replica: string; files: number; bytes: number; incoming: number }[];
  /** By the replicas' own word; null of one that does not answer now. */
  running: (number | null)[];
  leases: number | null;
  line: number | null;
  ready: number | null;
}

/** 0 when it has gone meanwhile. */
async function rssOf(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) * 1_024;
}

const rssOfAll = async (pids: readonly number[]): Promise<number> => sum(await Promise.all(pids.map(rssOf)));

/** Files come and go while they are counted. */
async function filesOf(directory: string): Promise<number[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
  const sizes = entries.map(async (entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return filesOf(path);
    const found = await stat(path).catch(() => null);
    return found === null ? [] : [found.size];
  });
  return (await Promise.all(sizes)).flat();
}

/** By the first two digits of a block's key. */
const BLOCK_FOLDERS = Array.from({ length: 256 }, (_, number) => number.toString(16).padStart(2, "0"));

async function diskOf(product: Started, replica: string): Promise<Sample["disk"][number]> {
  const directory = join(product.stateDirectory, "blocks", replica);
  const incoming = await filesOf(join(directory, "incoming"));
  const blocks = (await Promise.all(BLOCK_FOLDERS.map((folder) => filesOf(join(directory, folder))))).flat();
  return { replica, files: blocks.length, bytes: sum(blocks), incoming: incoming.length };
}

/** A replica's port changes when it is started again, so it is looked up: the one that its process listens on. */
async function portOf(pid: number): Promise<number | null> {
  const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => []);
  const links = await Promise.all(descriptors.map((name) => readlink(`/proc/${pid}/fd/${name}`).catch(() => "")));
  const inodes = new Set(links.map((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1]));
  const lines = (await readFile("/proc/net/tcp", "utf8")).split("\n").map((line) => line.trim().split(/\s+/));
  const listening = lines.find(([, , , state, , , , , , inode]) => state === "0A" && inodes.has(inode));
  return listening === undefined ? null : Number.parseInt(listening[1]?.split(":")[1] ?? "", 16);
}

async function runningAt(pid: number | undefined): Promise<number | null> {
  const port = pid === undefined ? null : await portOf(pid);
  if (port === null) return null;
  try {
    const answer = await fetch(`http://127.0.0.1:${port}/healthz`, { signal: AbortSignal.timeout(1_000) });
    return ((await answer.json()) as { running: number }).running;
  } catch {
    return null;
  }
}

/** `names`: of the replicas. */
export async function sampleOf(product: Started, names: readonly string[]): Promise<Sample> {
  const pid = product.launcher.pid ?? 0;
  const replicas = names.flatMap((name) => replicaPid(product, name) ?? []);
  const engines = replicas.flatMap(childrenOf);
  const [all, launcher, edge] = [familyOf(pid), [pid], [edgePid(product) ?? 0]];
  const asked = ["warmpath_leases", "warmpath_router_queue_pending_requests", "warmpath_replicas_ready"];
  const gauges = await Promise.all(asked.map((name) => metric(product, name).catch(() => null)));
  return {
    atMs: performance.now(),
    rssBytes: {
      launcher: await rssOfAll(launcher),
      edge: await rssOfAll(edge),
      replicas: await rssOfAll(replicas),
      engines: await rssOfAll(engines),
      all: await rssOfAll(all),
    },
    processes: all.length,
    disk: await Promise.all(names.map((name) => diskOf(product, name))),
    running: await Promise.all(names.map((name) => runningAt(replicaPid(product, name)))),
    leases: gauges[0] ?? null,
    line: gauges[1] ?? null,
    ready: gauges[2] ?? null,
  };
}
