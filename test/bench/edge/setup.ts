/** One bench's processes, ready to be measured. */
import { createHmac } from "node:crypto";
import type { Arm, Edge } from "./arms.ts";
import { POOL } from "./arms.ts";
import { cpuMs } from "./cpu.ts";
import { type Child, startChild } from "./child.ts";
import type { LoadCommand, LoadReply } from "./load-generator.ts";
import type { MockCommand, MockReply } from "./mock-replica.ts";
import { templateChain } from "./prompts.ts";

export type Mock = Child<MockCommand, MockReply>;
export type Load = Child<LoadCommand, LoadReply>;

export const startLoad = (): Load => startChild("load-generator.ts");

export async function startMock(servers: number): Promise<{ mock: Mock; ports: number[] }> {
  const mock: Mock = startChild("mock-replica.ts");
  return { mock, ports: (await mock.ask({ type: "listen", servers })).ports };
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export async function metric(edge: Edge, name: string): Promise<number> {
  const text = await (await fetch(`${edge.origin}/metrics`, { headers: { ...edge.headers, "cache-control": "no-cache" } })).text();
  return Number(new RegExp(`^${name}\\{[^}]*\\} (\\S+)$`, "m").exec(text)?.[1] ?? Number.NaN);
}

export const indexEntries = (edge: Edge): Promise<number> => metric(edge, "warmpath_index_entries");
export const indexBytes = (edge: Edge): Promise<number> => metric(edge, "warmpath_index_bytes");

export async function joinReplicas(edge: Edge, mock: Mock, ports: number[], replicas: number): Promise<void> {
  const join = `${edge.origin.replace("http:", "ws:")}/announce/${POOL}`;
  await mock.ask({ type: "join", join, token: edge.secrets.joinToken(POOL), pool: POOL, replicas, ports });
  for (let tries = 0; tries < 200; tries++) {
    if ((await mock.ask({ type: "state" })).joined === replicas) return;
    await sleep(50);
  }
  throw new Error(`not all of ${replicas} mock replicas joined within 10 s`);
}

export const saltOf = (edge: Edge): string =>
  createHmac("sha256", edge.secrets.deployment).update("salt:dev").digest("base64url").slice(0, 22);

/** Every size's shared prefix is held by one replica, so that lookups go to its full depth. */
export async function holdPrefixes(edge: Edge, mock: Mock, sizes: readonly number[], replicas: number): Promise<void> {
  for (const [index, size] of sizes.entries()) {
    const hashes = [...(await templateChain(size, saltOf(edge)))].map(String);
    await mock.ask({ type: "hold", replica: index % replicas, hashes });
  }
  const { entries } = await mock.ask({ type: "state" });
  await waitForEntries(edge, entries);
}

export async function waitForEntries(edge: Edge, wanted: number): Promise<void> {
  let known = 0;
  for (let tries = 0; tries < 300; tries++) {
    known = await indexEntries(edge);
    if (known >= wanted) return;
    await sleep(100);
  }
  const text = await (await fetch(`${edge.origin}/metrics`, { headers: { ...edge.headers, "cache-control": "no-cache" } })).text();
  throw new Error(`the pool knows ${known} of ${wanted} entries after 30 s\n${text.replaceAll(/^#.*\n/gm, "")}`);
}

export interface Measured {
  reply: LoadReply;
  cpuMs: number;
}

/** One run of load through `arm`, with the CPU that its process took for it. */
export async function measure(load: Load, arm: Arm, command: Omit<LoadCommand, "origin" | "headers">): Promise<Measured> {
  const before = arm.pid === null ? 0 : cpuMs(arm.pid);
  const api = arm.api === undefined ? {} : { api: arm.api };
  const reply = await load.ask({ ...command, ...api, origin: arm.origin, headers: arm.headers });
  const after = arm.pid === null ? 0 : cpuMs(arm.pid);
  if (reply.failed > 0) process.stdout.write(`  ${arm.name}: ${reply.failed} of ${reply.sent} failed: ${reply.firstFailure}\n`);
  return { reply, cpuMs: after - before };
}
