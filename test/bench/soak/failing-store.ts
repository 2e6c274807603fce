/** A store in front of a real one that fails in turn: errors, silence, cut, damaged and foreign bodies, objects that are gone. */
import { createServer, type IncomingMessage, request as httpRequest, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { StartedStore } from "../../conformance/tier-store.ts";

const FAULTS = ["flipped", "error", "foreign", "gone", "cut", "full", "silence"] as const;
type Fault = (typeof FAULTS)[number];
/** Answers in a row that fail in one way. */
const IN_A_ROW = 6;
/** So that the tier's breaker does not keep away all the time. */
const GOOD_BETWEEN = 6;

export interface FailingStore {
  endpoint: string;
  on: boolean;
  readonly failed: Readonly<Record<Fault, number>>;
  close(): Promise<void>;
}

export async function startFailingStore(store: StartedStore): Promise<FailingStore> {
  const failed = Object.fromEntries(FAULTS.map((fault) => [fault, 0])) as Record<Fault, number>;
  const state = { on: false };
  /** By kind: reads and writes fail in turn, each by itself. */
  const asked = { reads: 0, writes: 0 };
  const server = createServer((request, response) => {
    response.on("error", () => undefined);
    const fault = state.on ? faultOf(asked[request.method === "GET" ? "reads" : "writes"]++, request.method ?? "") : null;
    if (fault === null) return forward(request, response, store.port);
    failed[fault] += 1;
    fail(fault, request, response, store.port);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    endpoint: `http://127.0.0.1:${port}`,
    get on() {
      return state.on;
    },
    set on(value) {
      state.on = value;
    },
    failed,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Reads can be damaged, writes can find it full; all else fails for both. */
function faultOf(asked: number, method: string): Fault | null {
  const round = Math.floor(asked / (IN_A_ROW + GOOD_BETWEEN));
  if (asked % (IN_A_ROW + GOOD_BETWEEN) >= IN_A_ROW) return null;
  const fault = FAULTS[round % FAULTS.length] ?? "error";
  if (fault === "full") return method === "PUT" ? fault : null;
  if (fault === "flipped" || fault === "foreign" || fault === "cut" || fault === "gone") return method === "GET" ? fault : null;
  return fault;
}

function fail(fault: Fault, request: IncomingMessage, response: ServerResponse, port: number): void {
  if (fault === "silence") return;
  if (fault === "flipped" || fault === "cut") return forward(request, response, port, fault);
  request.resume();
  if (fault === "foreign") return void response.end("<html>Welcome to our wifi</html>".repeat(20));
  response.writeHead(fault === "gone" ? 404 : fault === "full" ? 507 : 500).end();
}

function forward(request: IncomingMessage, response: ServerResponse, port: number, change?: "flipped" | "cut"): void {
  const { method, url, headers } = request;
  const onward = httpRequest({ host: "127.0.0.1", port, method, path: url, headers }, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    if (change === undefined) return void answer.pipe(response);
    const parts: Buffer[] = [];
    answer.on("data", (part: Buffer) => parts.push(part));
    answer.on("end", () => {
      const bytes = Buffer.concat(parts);
      const middle = Math.floor(bytes.length / 2);
      if (change === "flipped" && bytes.length > 0) bytes[middle] = (bytes[middle] ?? 0) ^ 1;
      if (change === "flipped") response.end(bytes);
      else response.write(bytes.subarray(0, middle), () => response.destroy());
    });
  });
  onward.on("error", () => response.destroy());
  request.pipe(onward);
}
