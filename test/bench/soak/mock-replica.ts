/**
 * A mock replica: a process of its own that speaks the whole protocol (gpu-backend's own announcer and admission gate) and answers chat
 * completions in its engine's time. Its parent tells it what to do over Node's IPC.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import xxhash from "xxhash-wasm";
import { AdmissionGate } from "../../../gpu-backend/admission-gate.ts";
import { announce, type Announcer } from "../../../gpu-backend/announce.ts";
import { steadyNowMs } from "../../../gpu-backend/steady-clock.ts";
import { type ApiError, apiError } from "../../../src/errors.ts";
import { chainOf, chainRoot, type Hash64 } from "../../../src/prefix/chain.ts";
import { PromptEncoder } from "../../../src/prefix/prompt-encoder.ts";
import { DEFAULT_SCHEDULE, type HashSpec } from "../../../src/prefix/segment.ts";
import type { Admission } from "../../../src/wire/admission.ts";
import { errorBody } from "../../../src/wire/envelope.ts";
import { HEADER } from "../../../src/wire/headers.ts";
import { nonceOf } from "../../../src/wire/way-back.ts";
import { parseChatRequest } from "../../../src/wire/openai.ts";
import { PROTOCOL_VERSION, type Running } from "../../../src/wire/control.ts";
import { seededRandom } from "../conversations.ts";
import { serveCommands } from "../edge/child.ts";
import { MockAnswer } from "./mock-answer.ts";
import { MockCache, type PromptSegments } from "./mock-cache.ts";
import { type EngineWork, MockEngine } from "./mock-engine.ts";
import { BYTES_PER_TOKEN, MOCK_MODEL, type MockTruth, STEP_TOKENS } from "./truth.ts";

const MOCK_CAPACITY = { sequences: 64, kvTokens: 200_000, blockTokens: 16, contextTokens: 32_768, queueLimit: 32 };
const HASH_SPEC: HashSpec = { version: 1, schedule: DEFAULT_SCHEDULE, order: "system-then-tools" };
const ARCHIVE_PART = 10_000;
const ARCHIVE_EVERY_MS = 100;
/** What a real replica gives a request that says nothing of it. */
const USUAL_TOKENS = 16;

export type MockCommand =
  | { type: "join"; join: string; token: string; pool: string; name: string; seed: number; truth: MockTruth }
  /** Its disk turns out to hold so many segments. Answered before all are announced. */
  | { type: "archive"; segments: number }
  /** A new life of its engine in the same process. */
  | { type: "restart" }
  | { type: "state" }
  /** As `state`, and its steps count from here on. */
  | { type: "lag" };

export interface MockReply {
  joined: boolean;
  running: number;
  /** Since `lag` was asked last: how long its steps should have taken, and did. 0 in other answers. */
  steps: { wantedMs: number; tookMs: number };
}

interface Live {
  running: Running;
  work: EngineWork;
  lose: () => void;
}

const xxh = await xxhash();
const hash64: Hash64 = (bytes, seed) => xxh.h64Raw(bytes, seed);
const encoder = new PromptEncoder(hash64);
const gate = new AdmissionGate();
const live = new Map<string, Live>();
let cache = new MockCache(MOCK_CAPACITY.kvTokens, (entry) => announcer?.residency(entry));
let engine: MockEngine | null = null;
let announcer: Announcer | null = null;
let random: () => number = Math.random;
let epoch = 0;
let joined = false;

/** A life of its engine. */
function begin(): void {
  epoch = Math.max(Date.now(), epoch + 1);
  gate.begin(epoch);
}

function sendError(response: ServerResponse, error: ApiError): void {
  response.writeHead(error.status, { "content-type": "application/json" });
  response.end(JSON.stringify(errorBody("chat", error, "")));
}

function headerText(request: IncomingMessage, name: string): string | undefined {
  const text = request.headers[name];
  return typeof text === "string" ? text : undefined;
}

/** Of what the edge admitted: null when it hashed another prompt. */
function segmentsOf(prompt: Parameters<PromptEncoder["encode"]>[0], { salt, chainTip }: Admission) {
  const bytes = encoder.encode(prompt, HASH_SPEC.order);
  const root = chainRoot(hash64, { spec: HASH_SPEC, model: MOCK_MODEL, adapter: null, salt });
  const { hashes, ends } = chainOf(hash64, root, bytes, HASH_SPEC.schedule);
  if ((hashes.at(-1)?.toString(16) ?? "") !== chainTip) return null;
  const tokenEnds = Array.from(ends, (end) => Math.floor(end / BYTES_PER_TOKEN));
  const segments: PromptSegments = { hashes, tokenEnds };
  return { segments, promptTokens: Math.max(1, Math.round(bytes.length / BYTES_PER_TOKEN)) };
}

function infer(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
  const refuse = (error: ApiError): void => sendError(response, error);
  const [given, meantFor] = [headerText(request, HEADER.admission), headerText(request, HEADER.epoch)];
  const path = request.url ?? "";
  const admitted = gate.spend({ admission: given, epoch: meantFor, path, bodyBytes: body.byteLength }, steadyNowMs());
  if (!admitted.ok) return refuse(apiError(admitted.replaced ? "epoch_replaced" : "invalid_admission", admitted.why));
  if (!gate.isAdmitted(admitted.admission, body, 0))
    return refuse(apiError("invalid_admission", "The admission was given for another body."));
  const { admission } = admitted;
  const parsed = parseChatRequest(JSON.parse(body.toString()));
  if (!parsed.ok) return refuse(parsed.error);
  const opened = segmentsOf(parsed.request.prompt, admission);
  if (opened === null) return refuse(apiError("invalid_admission", "The admission was given for another prompt."));
  const { id, attempt } = admission;
  const running: Running = { id, attempt, state: "started", outputTokens: 0 };
  const answer = new MockAnswer(response, id, MOCK_MODEL, parsed.request.stream);
  const work = workOf(running, answer, { ...opened, outputTokens: parsed.request.maxTokens ?? USUAL_TOKENS });
  if (engine?.submit(work) !== true) {
    announcer?.lease({ event: "refused", id, attempt });
    return refuse({ ...apiError("overloaded", "The queue is full."), retryAfterSeconds: 1 });
  }
  answer.accept();
  live.set(`${id}/${attempt}`, { running, work, lose: () => response.destroy() });
  response.on("close", () => left(running, opened.promptTokens));
}

function workOf(
  running: Running,
  answer: MockAnswer,
  { segments, promptTokens, outputTokens }: { segments: PromptSegments; promptTokens: number; outputTokens: number },
): EngineWork {
  const { id, attempt } = running;
  let cachedTokens = 0;
  return {
    promptTokens,
    outputTokens,
    segments,
    started: () => {
      cachedTokens = Math.min(cache.cachedTokens(segments), promptTokens - 1);
      announcer?.lease({ event: "started", id, attempt });
      return cachedTokens;
    },
    firstToken: (prefillMs) => {
      running.state = "decoding";
      cache.hold(segments);
      announcer?.lease({ event: "decoding", id, attempt, promptTokens, cachedTokens, prefillMs });
      answer.firstToken();
    },
    token: () => void running.outputTokens++,
    finished: (prefillMs, decodeMs) => {
      live.delete(`${id}/${attempt}`);
      const usage = { promptTokens, cachedTokens, outputTokens, reasoningTokens: 0 };
      announcer?.lease({ event: "settled", id, attempt, reason: "length", promptTokens, cachedTokens, outputTokens, prefillMs, decodeMs });
      answer.finish(usage);
    },
  };
}

/** Its client or its edge has gone; nothing happens when the answer was complete. */
function left({ id, attempt, outputTokens }: Running, promptTokens: number): void {
  const known = live.get(`${id}/${attempt}`);
  if (known === undefined) return;
  live.delete(`${id}/${attempt}`);
  engine?.cancel(known.work);
  const usage = { promptTokens, cachedTokens: 0, outputTokens, prefillMs: 0, decodeMs: 0 };
  announcer?.lease({ event: "settled", id, attempt, reason: "cancelled", ...usage });
}

const http = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  response.socket?.setNoDelay(true);
  const nonce = nonceOf(request.url ?? "");
  if (nonce !== null) return void response.end(gate.prove(nonce) ?? "");
  if (request.method !== "POST") return void response.end(JSON.stringify({ status: "ok", model: MOCK_MODEL, running: live.size }));
  const parts: Buffer[] = [];
  request.on("data", (part: Buffer) => parts.push(part));
  request.on("end", () => infer(request, response, Buffer.concat(parts)));
});

async function join({ join: address, token, pool, name, seed, truth }: Extract<MockCommand, { type: "join" }>): Promise<void> {
  random = seededRandom(seed);
  engine = new MockEngine(MOCK_CAPACITY, truth, random);
  begin();
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  announcer = announce({
    join: address,
    hello: () => ({
      protocol: PROTOCOL_VERSION,
      pool,
      replica: name,
      epoch,
      url,
      roles: ["prefill", "decode"],
      model: MOCK_MODEL,
      hashSpec: { ...HASH_SPEC, schedule: [...HASH_SPEC.schedule] },
      anchors: "exact",
      capacity: { ...MOCK_CAPACITY, stepTokens: STEP_TOKENS },
      token,
    }),
    running: () => [...live.values()].map(({ running }) => running),
    load: () => engine?.load() ?? { usedKvTokens: 0 },
    entries: () => cache.entries(),
    entryCount: () => cache.size,
    onWelcome: ({ admissionKey, poolNowMs }) => gate.welcome(admissionKey, poolNowMs, steadyNowMs()),
    onTime: (poolNowMs) => gate.follow(poolNowMs, steadyNowMs()),
    onCancel: (id, attempt) => live.get(`${id}/${attempt}`)?.lose(),
    onRefused: (message) => process.stderr.write(`${name} was refused by its pool: ${message}\n`),
    onUnreached: (message) => process.stderr.write(`${name} has no way back: ${message}\n`),
    onLeftOut: (message) => process.stderr.write(`${name} is left out: ${message}\n`),
    onState: (up) => (joined = up),
  });
}

/** Any 64 bits that are not 0. */
function randomHash(): bigint {
  const half = (): bigint => BigInt(Math.floor(random() * 2 ** 32));
  return (half() << 32n) | half() | 1n;
}

async function archive(segments: number): Promise<void> {
  cache.reserveArchive(segments);
  while (cache.findArchived(ARCHIVE_PART, randomHash) > 0) await new Promise((resolve) => setTimeout(resolve, ARCHIVE_EVERY_MS));
}

function restart(): void {
  engine?.die();
  cache = new MockCache(MOCK_CAPACITY.kvTokens, (entry) => announcer?.residency(entry));
  begin();
  const lost = [...live.values()];
  live.clear();
  for (const { lose } of lost) lose();
  announcer?.restart([]);
}

serveCommands<MockCommand, MockReply>(async (command) => {
  if (command.type === "join") await join(command);
  else if (command.type === "archive") void archive(command.segments);
  else if (command.type === "restart") restart();
  const steps = (command.type === "lag" ? engine?.takeSteps() : null) ?? { wantedMs: 0, tookMs: 0 };
  return { steps, joined, running: live.size };
});
