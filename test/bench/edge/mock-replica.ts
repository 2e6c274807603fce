/** Replicas that answer at once. They speak the announce protocol and report every lease; one process plays any number of them. */
import type { ResidencyEntry } from "../../../src/pool/frames.ts";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { AdmissionGate } from "../../../gpu-backend/admission-gate.ts";
import { announce, type Announcer } from "../../../gpu-backend/announce.ts";
import { edgeOrigin as originOf } from "../../../gpu-backend/store-response.ts";
import type { AnswerEvent } from "../../../src/wire/answer-event.ts";
import { chatCompletion, ChatStream } from "../../../src/wire/chat-answer.ts";
import { nonceOf } from "../../../src/wire/way-back.ts";
import { WholeAnswer } from "../../../src/wire/whole-answer.ts";
import { HEADER } from "../../../src/wire/headers.ts";
import { serveCommands } from "./child.ts";
import { HASH_SPEC, MODEL } from "./prompts.ts";

export type MockCommand =
  | { type: "listen"; servers: number }
  | { type: "join"; join: string; token: string; pool: string; replicas: number; ports: number[] }
  /** `hashes[i]`, decimal, is announced by `replica`, or by all of them. */
  | { type: "hold"; replica: number | "all"; hashes: string[] }
  /** One replica holds the first ones from now on and the others, of those it held last, no more. */
  | { type: "exchange"; replica: number; hashes: string[]; gone: string[] }
  | { type: "events"; count: number; oneByOne: boolean }
  | { type: "state" };
export interface MockReply {
  ports: number[];
  joined: number;
  entries: number;
  answered: number;
}

const CONTENT = " word";
const head = { requestId: "bench", createdS: 1_790_000_000, model: MODEL };
const answer = new WholeAnswer();
const finished: AnswerEvent = { type: "finished", choice: 0, reason: "length", stopText: null };
answer.add({ type: "text", choice: 0, text: CONTENT.repeat(16), logprobs: null });
answer.add(finished);
answer.add({ type: "usage", usage: { promptTokens: 500, cachedTokens: 400, outputTokens: 16, reasoningTokens: 0 } });
const unary = Buffer.from(JSON.stringify(chatCompletion(head, { logprobs: null }, answer)));
const chunks = new ChatStream(head, { includeUsage: false, n: 1 });
const first = chunks.open();
const word = chunks.event({ type: "text", choice: 0, text: CONTENT, logprobs: null });
const last = chunks.event(finished) + chunks.close();

/** About 20 KB. */
const result = JSON.stringify({ response: { text: CONTENT.repeat(2_000) }, inputItems: [], messages: [{ text: CONTENT.repeat(2_000) }] });

const announcers: Announcer[] = [];
const gates: AdmissionGate[] = [];
let edgeOrigin = "";
const held: ResidencyEntry[][] = [];
const ports: number[] = [];
let joined = 0;
let answered = 0;
let events = 16;
let oneByOne = false;
let burst = Buffer.from(first + word.repeat(events) + last);

function settle(request: IncomingMessage, server: number): void {
  const admission = request.headers[HEADER.admission];
  if (typeof admission !== "string") return;
  const { id, attempt } = JSON.parse(admission.slice(admission.indexOf(".") + 1)) as { id: string; attempt: number };
  const { promptTokens, cachedTokens, outputTokens } = answer.usage;
  const announcer = announcers[server];
  announcer?.lease({ event: "started", id, attempt });
  announcer?.lease({ event: "decoding", id, attempt, promptTokens, cachedTokens, prefillMs: 1 });
  announcer?.lease({
    event: "settled",
    id,
    attempt,
    reason: "length",
    promptTokens,
    cachedTokens,
    outputTokens,
    prefillMs: 1,
    decodeMs: 1,
  });
}

/** A response that is to be stored is sent to the edge before its answer ends, as replicas do. */
async function storeResponse({ headers }: IncomingMessage): Promise<void> {
  const [ticket, id] = [headers[HEADER.resultTicket], headers[HEADER.requestId]];
  if (typeof ticket !== "string" || typeof id !== "string") return;
  const url = `${edgeOrigin}/internal/results/resp_${id.slice("req_".length)}`;
  const sent = { "content-type": "application/json", [HEADER.resultTicket]: ticket };
  await (await fetch(url, { method: "PUT", headers: sent, body: result })).arrayBuffer();
}

/** As fast as the loop turns, one write an event. */
async function streamOneByOne(response: ServerResponse): Promise<void> {
  response.write(first);
  for (let i = 0; i < events; i++) {
    await new Promise((resolve) => setImmediate(resolve));
    if (response.destroyed) return;
    if (!response.write(word)) await new Promise((resolve) => response.once("drain", resolve));
  }
  response.end(last);
}

const json = (response: ServerResponse, value: unknown): void => {
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify(value));
};

/** What SMG asks its workers, and what the pool asks each replica. */
function small(request: IncomingMessage, response: ServerResponse): void {
  const [, index = "", path = ""] = /^\/(\d+)(\/.*)$/.exec(request.url ?? "") ?? [];
  const nonce = nonceOf(path);
  if (nonce !== null) return void response.end(gates[Number(index)]?.prove(nonce) ?? "");
  if (request.url === "/v1/models") json(response, { object: "list", data: [{ id: MODEL, object: "model", owned_by: "bench" }] });
  else json(response, { status: "ok", model_path: MODEL, served_model_name: MODEL, model_id: MODEL, version: "0.5.0" });
}

/** Near the front in ours; a router that writes the body anew may put it last. */
function wantsStream(parts: readonly Buffer[]): boolean {
  const front = parts[0]?.subarray(0, 256).toString("latin1") ?? "";
  const end = parts.at(-1)?.subarray(-512).toString("latin1") ?? "";
  return /"stream":\s*true/.test(front) || /"stream":\s*true/.test(end);
}

function listen(server: number): Promise<number> {
  const http = createServer((request, response) => {
    if (request.method !== "POST") return small(request, response);
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      answered++;
      if (!wantsStream(parts)) {
        response.writeHead(200, { "content-type": "application/json", "content-length": unary.length });
        if (request.headers[HEADER.resultTicket] === undefined) response.end(unary);
        else void storeResponse(request).finally(() => response.end(unary));
      } else {
        response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" });
        if (oneByOne) void streamOneByOne(response);
        else response.end(burst);
      }
      settle(request, server);
    });
  });
  http.keepAliveTimeout = 120_000;
  return new Promise((resolve) => http.listen(0, "127.0.0.1", () => resolve((http.address() as AddressInfo).port)));
}

function join(command: Extract<MockCommand, { type: "join" }>, index: number): Announcer {
  const entries: ResidencyEntry[] = (held[index] = []);
  const epoch = Date.now();
  const gate = (gates[index] = new AdmissionGate());
  return announce({
    join: command.join,
    hello: () => ({
      protocol: 1,
      pool: command.pool,
      replica: `mock-${index}`,
      epoch,
      // Several share a port, and each proves its own way back.
      url: `http://127.0.0.1:${command.ports[index % command.ports.length]}/${index}`,
      roles: ["prefill", "decode"],
      model: MODEL,
      hashSpec: { ...HASH_SPEC, schedule: [...HASH_SPEC.schedule] },
      anchors: "exact",
      capacity: { sequences: 100_000, kvTokens: 4_000_000_000, blockTokens: 32, contextTokens: 4_000_000, queueLimit: 100_000 },
      token: command.token,
    }),
    running: () => [],
    load: () => ({ usedKvTokens: 0 }),
    entries: () => entries,
    entryCount: () => entries.length,
    onWelcome: ({ admissionKey, poolNowMs }) => gate.welcome(admissionKey, poolNowMs, poolNowMs),
    onTime: () => undefined,
    onCancel: () => undefined,
    onRefused: (message) => process.stderr.write(`mock-${index} was refused: ${message}\n`),
    onUnreached: (message) => process.stderr.write(`mock-${index} has no way back: ${message}\n`),
    onLeftOut: (message) => process.stderr.write(`mock-${index} is left out: ${message}\n`),
    onState: (up) => (joined += up ? 1 : -1),
  });
}

function hold(replica: number | "all", hashes: readonly string[]): void {
  for (const index of replica === "all" ? announcers.keys() : [replica]) {
    for (const [segment, hash] of hashes.entries()) {
      const entry = { hash: BigInt(hash), tokens: (segment + 1) * 64, tierBits: 1 };
      held[index]?.push(entry);
      announcers[index]?.residency(entry);
    }
  }
}

function exchange(replica: number, hashes: readonly string[], gone: readonly string[]): void {
  for (const hash of gone) announcers[replica]?.residency({ hash: BigInt(hash), tokens: 0, tierBits: 0 });
  const kept = held[replica];
  if (kept === undefined) return;
  // Only their number and, after a loss, their like are asked for.
  kept.length = Math.max(0, kept.length - gone.length);
  hold(replica, hashes);
}

async function handle(command: MockCommand): Promise<MockReply> {
  switch (command.type) {
    case "listen":
      for (let server = 0; server < command.servers; server++) ports.push(await listen(server));
      break;
    case "join":
      for (const old of announcers.splice(0)) old.close();
      held.length = 0;
      edgeOrigin = originOf(command.join);
      for (let index = 0; index < command.replicas; index++) announcers.push(join(command, index));
      break;
    case "hold":
      hold(command.replica, command.hashes);
      break;
    case "exchange":
      exchange(command.replica, command.hashes, command.gone);
      break;
    case "events":
      events = command.count;
      ({ oneByOne } = command);
      burst = Buffer.from(first + word.repeat(events) + last);
      break;
    case "state":
  }
  return { ports, joined, entries: held.reduce((sum, entries) => sum + entries.length, 0), answered };
}

serveCommands(handle);
