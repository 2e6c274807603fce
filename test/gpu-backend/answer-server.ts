/** One replica over HTTP with a real engine, let in by admissions that the test forges, and an edge that only keeps results. */
import { createHmac, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import xxhash from "xxhash-wasm";
import type { Engine } from "../../gpu-backend/engine/engine.ts";
import { Replica } from "../../gpu-backend/replica.ts";
import { createReplicaServer } from "../../gpu-backend/server.ts";
import { sha256 } from "../../gpu-backend/sha256.ts";
import { chainOf, chainRoot, type Hash64 } from "../../src/prefix/chain.ts";
import type { ChatMessage } from "../../src/prefix/prompt.ts";
import { PromptEncoder } from "../../src/prefix/prompt-encoder.ts";
import { DEFAULT_SCHEDULE, type HashSpec } from "../../src/prefix/segment.ts";
import { encodeAdmission, forwardedDigest } from "../../src/wire/admission.ts";
import { APIS } from "../../src/wire/apis.ts";
import { apiOfPath } from "../../src/wire/envelope.ts";
import { HEADER } from "../../src/wire/headers.ts";
import { parseVerdict, VERDICT_FOLLOWS } from "../../src/wire/verdict.ts";

const xxh = await xxhash();
const hash64: Hash64 = (bytes, seed) => xxh.h64Raw(bytes, seed);
const encoder = new PromptEncoder(hash64);
const SPEC: HashSpec = { version: 1, schedule: DEFAULT_SCHEDULE, order: "system-then-tools" };

export interface StoredResult {
  path: string;
  ticket: string;
  body: { response: Record<string, unknown>; inputItems: Record<string, unknown>[]; messages: ChatMessage[] };
}

export interface AnswerServer {
  /** Of the replica. */
  url: string;
  /** What the edge would send of this body to this path. */
  admitted(path: string, body: string): { headers: Record<string, string>; body: Buffer };
  openai: OpenAI;
  anthropic: Anthropic;
  /** Sent with the next request. */
  extraHeaders: Record<string, string>;
  /** Comes before the body of the next request. */
  history: readonly ChatMessage[];
  stored: StoredResult[];
  /** Statuses with which the edge answers the next results; 204 after them. */
  refusals: number[];
  close(): Promise<void>;
}

async function listen(server: Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** As an edge reads it: on a busy machine the verdict comes after the headers. */
async function afterVerdict(response: Response): Promise<Response> {
  if (response.headers.get(HEADER.verdict) !== VERDICT_FOLLOWS) return response;
  const text = (await response.text()).trimStart();
  const end = text.indexOf("\n");
  const verdict = parseVerdict(text.slice(0, end));
  if (verdict === null) throw new Error("no verdict follows");
  return new Response(text.slice(end + 1), { status: verdict.status, headers: { "content-type": verdict.contentType } });
}

export async function startAnswerServer(engine: Engine): Promise<AnswerServer> {
  const stored: StoredResult[] = [];
  const refusals: number[] = [];
  const edge = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      const ticket = String(request.headers[HEADER.resultTicket]);
      const body = JSON.parse(Buffer.concat(parts).toString()) as StoredResult["body"];
      stored.push({ path: `${request.method} ${request.url}`, ticket, body });
      response.writeHead(refusals.shift() ?? 204).end();
    });
  });
  const edgeAddress = await listen(edge);
  const replica = await Replica.create(engine, {
    join: `ws://${edgeAddress}/announce/p`,
    joinToken: "",
    pool: "p",
    name: "r",
    url: null,
    host: "127.0.0.1",
    port: 0,
    roles: ["prefill", "decode"],
    machine: null,
    drainMs: 0,
    tiers: { hostBytes: 0, disk: null, store: null },
  });
  if (!(replica instanceof Replica)) throw new Error(replica.message);
  const key = randomBytes(32);
  replica.gate.welcome(key.toString("base64url"), Date.now(), Date.now());
  const server = createReplicaServer(replica);
  const baseURL = `http://${await listen(server)}`;
  let serial = 0;

  const admitted = (url: string, body: string): { headers: Record<string, string>; body: Buffer } => {
    const { pathname } = new URL(url);
    const path = pathname.replace(/\/(count|input)_tokens$/, "");
    const { parse } = APIS[apiOfPath(path) ?? "chat"];
    const parsed = parse(JSON.parse(body), { headers: () => undefined, history: context.history, counts: path !== pathname });
    const root = chainRoot(hash64, { spec: SPEC, model: engine.card.model, adapter: null, salt: "s" });
    const chain = parsed.ok ? chainOf(hash64, root, encoder.encode(parsed.request.prompt, SPEC.order), SPEC.schedule) : null;
    const history = context.history.length > 0 ? Buffer.from(JSON.stringify(context.history)) : Buffer.alloc(0);
    const whole = Buffer.concat([history, Buffer.from(body)]);
    const admission = {
      id: `req_p_${(serial += 1)}`,
      attempt: 1,
      salt: "s",
      path: pathname,
      bodyBytes: whole.byteLength,
      digest: forwardedDigest(sha256, history.byteLength, sha256(whole)),
      chainTip: chain?.hashes.at(-1)?.toString(16) ?? "",
      expiresAtMs: Date.now() + 10_000,
    };
    const mac = (text: string): string => createHmac("sha256", key).update(text).digest("base64url");
    const headers = { [HEADER.admission]: encodeAdmission(admission, mac), [HEADER.historyBytes]: String(history.byteLength) };
    return { headers: { ...headers, ...context.extraHeaders }, body: whole };
  };
  const admittedFetch: typeof fetch = async (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    if (typeof init?.body !== "string") return fetch(input, init);
    const { headers, body } = admitted(url, init.body);
    const all = new Headers(init.headers);
    for (const [name, value] of Object.entries(headers)) all.set(name, value);
    all.delete("content-length");
    return afterVerdict(await fetch(url, { ...init, headers: all, body: new Uint8Array(body) }));
  };
  const context: AnswerServer = {
    url: baseURL,
    admitted: (path, body) => admitted(baseURL + path, body),
    openai: new OpenAI({ baseURL: `${baseURL}/v1`, apiKey: "none", fetch: admittedFetch, maxRetries: 0 }),
    anthropic: new Anthropic({ baseURL, apiKey: "none", fetch: admittedFetch, maxRetries: 0 }),
    extraHeaders: {},
    history: [],
    stored,
    refusals,
    close: async () => {
      for (const one of [server, edge]) {
        one.closeAllConnections();
        await new Promise((resolve) => one.close(resolve));
      }
    },
  };
  return context;
}
