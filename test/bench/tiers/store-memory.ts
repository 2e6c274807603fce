/**
 * Where a reader's memory ends when its store fails: thousands of reads for each kind of fault, and none. What grows is V8's young generation, which doubles while garbage is
 * made and reaches its most after a few thousand calls to any store, a good one too; so each row is measured with Node's own limit and with the one that replicas get.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { REPLICA_NODE_OPTIONS } from "../../../cli/replica-process.ts";
import { sealedOf } from "../../conformance/tier-blocks.ts";
import type { MemorySample, ReaderOrder } from "./store-reader.ts";

const READER = fileURLToPath(new URL("./store-reader.ts", import.meta.url));
const FAULTS = ["none", "flipped", "error", "gone", "foreign", "cut", "silence", "half"] as const;
type Fault = (typeof FAULTS)[number];
/** 37 KiB in 24 bytes a token, about a block of the demo model. */
const TOKENS = 1_365;
const LIMITS = { node: "", replica: REPLICA_NODE_OPTIONS } as const;

export const memoryParameters = {
  calls: 12_000,
  callsThatTimeOut: 6_000,
  parallel: 4,
  timeoutMs: 30,
  samples: 6,
  blockTokens: TOKENS,
  LIMITS,
};

export interface MemoryRow {
  part: "store memory";
  fault: Fault;
  limit: keyof typeof LIMITS;
  /** First: before the first read, after one write. */
  samples: MemorySample[];
}

function answer(fault: Fault, bytes: Buffer, request: IncomingMessage, response: ServerResponse): void {
  response.on("error", () => undefined);
  request.resume();
  const wantsBlock = request.method === "GET" && request.url?.includes("list-type") === false;
  if (request.url?.includes("list-type") === true) return void response.end("<ListBucketResult></ListBucketResult>");
  if (!wantsBlock) return void response.writeHead(request.method === "HEAD" ? 404 : 200).end();
  const middle = bytes.length >> 1;
  if (fault === "none") return void response.end(bytes);
  if (fault === "flipped") {
    const damaged = Buffer.from(bytes);
    damaged[middle] = (damaged[middle] ?? 0) ^ 1;
    return void response.end(damaged);
  }
  if (fault === "foreign") return void response.end("<html>Welcome to our wifi</html>".repeat(400));
  if (fault === "error" || fault === "gone") return void response.writeHead(fault === "gone" ? 404 : 500).end("x".repeat(1_000));
  if (fault === "silence") return;
  response.writeHead(200, { "content-length": bytes.length });
  response.write(bytes.subarray(0, middle), () => (fault === "cut" ? response.destroy() : undefined));
}

async function measure(fault: Fault, limit: keyof typeof LIMITS): Promise<MemoryRow> {
  const bytes = Buffer.from(sealedOf("a", null, TOKENS).bytes);
  const server = createServer((request, response) => answer(fault, bytes, request, response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const env = { ...process.env, NODE_OPTIONS: LIMITS[limit] };
  const reader = fork(READER, [], { execArgv: ["--disable-warning=ExperimentalWarning"], env });
  const timesOut = fault === "silence" || fault === "half";
  const { parallel, samples, timeoutMs, calls, callsThatTimeOut } = memoryParameters;
  const order: ReaderOrder = {
    endpoint: `http://127.0.0.1:${port}`,
    calls: timesOut ? callsThatTimeOut : calls,
    tokens: TOKENS,
    timeoutMs: timesOut ? timeoutMs : 2_000,
    parallel,
    samples,
  };
  reader.send(order);
  const [seen] = (await once(reader, "message")) as [MemorySample[]];
  server.closeAllConnections();
  server.close();
  return { part: "store memory", fault, limit, samples: seen };
}

export async function measureStoreMemory(): Promise<MemoryRow[]> {
  const rows: MemoryRow[] = [];
  for (const fault of FAULTS) for (const limit of ["node", "replica"] as const) rows.push(await measure(fault, limit));
  return rows;
}
