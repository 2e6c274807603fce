/** The door's product: an edge that believes what it is told of its disk, real replicas, and the attackers' process; and what they take. */
import { createHmac } from "node:crypto";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { type ReplicaProcess, startReplica } from "../../../cli/replica-process.ts";
import { ensureDemoModel } from "../../../gpu-backend/engine/llama-cpp/demo-model/demo-model.ts";
import { formatKey } from "../../../src/tenancy/key.ts";
import { familyOf } from "../../e2e/processes.ts";
import { metric, runningAt, until } from "../../e2e/started.ts";
import type { Target } from "../conversations.ts";
import { type Child, startChild } from "../edge/child.ts";
import { cpuMs } from "../edge/cpu.ts";
import { round, sum } from "../tiers/figures.ts";
import type { AttackerCommand, AttackerReply } from "./door-attacker.ts";
import { POOL, SoakEdge } from "./edge-process.ts";

export const FLEET = { replicas: 2, sequences: 4, contextTokens: 2_048 };
const TOTAL_BYTES = 64 * 1024 * 1024;
const READY_MS = 90_000;
const DRAIN_MS = 20_000;
const GO_MS = 20_000;

export class Disk {
  #freeBytes = TOTAL_BYTES;

  set full(full: boolean) {
    this.#freeBytes = full ? 0 : TOTAL_BYTES;
  }

  space = async (): Promise<{ freeBytes: number; totalBytes: number }> => ({ freeBytes: this.#freeBytes, totalBytes: TOTAL_BYTES });
}

export interface Rig {
  edge: SoakEdge;
  disk: Disk;
  replicas: readonly ReplicaProcess[];
  /** By name; once a replica has joined. */
  urls: ReadonlyMap<string, string>;
  attacker: Child<AttackerCommand, AttackerReply>;
  /** Of the honest tenant. */
  target: Target;
  /** Of another tenant. */
  hostileKey: string;
}

export async function startRig(bundle: string): Promise<Rig> {
  const disk = new Disk();
  const edge = await SoakEdge.start(bundle, disk.space);
  const model = await ensureDemoModel(edge.stateDirectory);
  const urls = new Map<string, string>();
  const replicas = Array.from({ length: FLEET.replicas }, (_, index) =>
    startReplica(
      `door-${index}`,
      {
        WARMPATH_JOIN: `ws://127.0.0.1:${edge.port}/announce/${POOL}`,
        WARMPATH_JOIN_TOKEN: edge.secrets.joinToken(POOL),
        WARMPATH_REPLICA: `door-${index}`,
        WARMPATH_MODEL: model,
        WARMPATH_MACHINE: "here",
        WARMPATH_SEQUENCES: String(FLEET.sequences),
        WARMPATH_CONTEXT_TOKENS: String(FLEET.contextTokens),
      },
      {
        started: () => undefined,
        joined: (name, url) => void urls.set(name, url),
        ended: () => undefined,
        failed: (name, message) => process.stderr.write(`${name}: ${message}\n`),
      },
    ),
  );
  const ready = async (): Promise<string | null> => {
    const answer = await fetch(`${edge.url}/healthz`);
    const { pools } = (await answer.json()) as { pools: { model: string | null; replicas: number }[] };
    return pools.find((pool) => pool.replicas === FLEET.replicas)?.model ?? null;
  };
  const name = await until("the replicas are ready", ready, READY_MS);
  const mac = (text: string): Buffer => createHmac("sha256", edge.secrets.deployment).update(text).digest();
  return {
    edge,
    disk,
    replicas,
    urls,
    attacker: startChild("../soak/door-attacker.ts"),
    target: { url: edge.url, model: name, headers: edge.headers },
    hostileKey: formatKey({ tenant: "hostile", keyId: "1" }, "0123456789abcdefghijklmn", mac),
  };
}

/** 0 when it has gone meanwhile. */
function rssMib(pid: number): number {
  try {
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1_024;
  } catch {
    return 0;
  }
}

const pidsOf = ({ replicas }: Rig): number[] => replicas.flatMap((replica) => familyOf(replica.pid() ?? 0));

export interface Taken {
  edgeMib: number;
  /** Of all replicas and their engines. */
  replicasMib: number;
  /** Of the edge. */
  descriptors: number;
  sockets: number;
}

export function takenBy(rig: Rig): Taken {
  const folder = `/proc/${rig.edge.pid}/fd`;
  const links = readdirSync(folder).map((name) => {
    try {
      return readlinkSync(join(folder, name));
    } catch {
      // Closed meanwhile.
      return "";
    }
  });
  return {
    edgeMib: round(rssMib(rig.edge.pid)),
    replicasMib: round(sum(pidsOf(rig).map(rssMib))),
    descriptors: links.length,
    sockets: links.filter((link) => link.startsWith("socket:")).length,
  };
}

/** Processors in use. */
export interface Busy {
  /** Edge, replicas and engines. */
  product: number;
  attackers: number;
  /** This process: the honest clients and the health pages. */
  honest: number;
  /** Whatever else ran on the machine. */
  others: number;
}

/** Of the whole machine, without what waits for a disk. */
function machineCpuMs(): number {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = (/^cpu +(.*)$/m.exec(readFileSync("/proc/stat", "utf8"))?.[1] ?? "")
    .split(" ")
    .map(Number);
  return (user + nice + system + irq + softirq) * 10;
}

/** From now on, until what it returns is called. */
export function usedBy(rig: Rig): () => Busy {
  const used = (): Record<"product" | "attackers" | "honest" | "machine", number> => ({
    product: sum([rig.edge.pid, ...pidsOf(rig)].map(cpuMs)),
    attackers: cpuMs(rig.attacker.pid),
    honest: cpuMs(process.pid),
    machine: machineCpuMs(),
  });
  const [before, startedMs] = [used(), performance.now()];
  return () => {
    const [after, ms] = [used(), performance.now() - startedMs];
    const cores = (name: keyof typeof after): number => round((after[name] - before[name]) / ms, 2);
    const [product, attackers, honest] = [cores("product"), cores("attackers"), cores("honest")];
    return { product, attackers, honest, others: round(cores("machine") - product - attackers - honest, 2) };
  };
}

/** What is to be 0 when nobody asks any more. */
export interface Rest {
  leases: number;
  line: number;
  /** By the replicas' own word. */
  running: number;
  /** Replicas that are not ready. */
  missing: number;
}

async function restOf({ edge, urls }: Rig): Promise<Rest> {
  const gauge = async (name: string): Promise<number> => (await metric(edge, name).catch(() => null)) ?? Infinity;
  const running = [...urls].map(([name, url]) => runningAt({ name, url, pid: 0 }).catch(() => Infinity));
  return {
    leases: await gauge("warmpath_leases"),
    line: await gauge("warmpath_router_queue_pending_requests"),
    running: sum(await Promise.all(running)),
    missing: Math.abs(FLEET.replicas - (await gauge("warmpath_replicas_ready"))),
  };
}

/** The first in which nothing goes on any more, or the last within the limit. */
export function rested(rig: Rig): Promise<Rest> {
  const still = async (): Promise<Rest | null> => {
    const rest = await restOf(rig);
    return Object.values(rest).every((value) => value === 0) ? rest : null;
  };
  return until("all is at rest", still, DRAIN_MS).catch(() => restOf(rig));
}

/** Resolves with how many of its processes are left. */
export async function endRig(rig: Rig): Promise<number> {
  const replicas = pidsOf(rig);
  const all = [rig.edge.pid, rig.attacker.pid, ...replicas];
  const left = (pids: readonly number[]): number => pids.filter((pid) => rssMib(pid) > 0).length;
  rig.attacker.end();
  for (const replica of rig.replicas) replica.cut();
  await until("the replicas have gone", () => left(replicas) === 0, GO_MS).catch(() => undefined);
  await rig.edge.end();
  await until("all have gone", () => left(all) === 0, GO_MS).catch(() => undefined);
  return left(all);
}
