/** The replica's HTTP side: every API's answers and token counts for the edge, and a health page. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type ApiError, apiError } from "../src/errors.ts";
import { apiOfPath, errorBody, errorStatus } from "../src/wire/envelope.ts";
import { HEADER } from "../src/wire/headers.ts";
import type { ApiName, InnerRequest } from "../src/wire/inner.ts";
import { PROMETHEUS_TYPE } from "../src/prometheus.ts";
import { parseSource } from "../src/wire/ticket.ts";
import { nonceOf } from "../src/wire/way-back.ts";
import { handUp } from "./hand-up.ts";
import { replicaMetricsText } from "./metrics.ts";
import { parseBody } from "./parse-body.ts";
import { Pulse } from "./pulse.ts";
import type { Replica, Run } from "./replica.ts";
import { reply } from "./reply.ts";
import { steadyNowMs } from "./steady-clock.ts";

const MOST_BODY_BYTES = 8 * 1024 * 1024;
const COUNTS: ReadonlyMap<string, { api: ApiName; body: (tokens: number) => object }> = new Map([
  ["/v1/messages/count_tokens", { api: "messages", body: (tokens) => ({ input_tokens: tokens }) }],
  ["/v1/responses/input_tokens", { api: "responses", body: (tokens) => ({ object: "response.input_tokens", input_tokens: tokens }) }],
]);

type Parsed = { ok: true; request: InnerRequest; body: Uint8Array; historyBytes: number } | { ok: false; error: ApiError };

interface Route {
  api: ApiName;
  work: "generate" | "count" | "prewarm";
}

export function createReplicaServer(replica: Replica): Server {
  const server = createServer({ keepAliveTimeout: 60_000, requestTimeout: 120_000 }, (request, response) => {
    // Tokens are small and must not wait for each other's acknowledgement.
    response.socket?.setNoDelay(true);
    handle(replica, request, response).catch((error: unknown) => {
      process.stderr.write(`unexpected: ${error instanceof Error ? error.stack : "no error object"}\n`);
      if (response.headersSent) response.destroy();
      else sendError(response, "chat", apiError("internal", "Something failed in the replica."), "");
    });
  });
  return server;
}

async function handle(replica: Replica, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = (request.url ?? "").split("?", 1)[0] ?? "";
  if (request.method === "GET" && path === "/healthz") {
    sendJson(response, 200, { status: "ok", model: replica.model, running: replica.runningCount });
    return;
  }
  if (request.method === "GET" && path === "/metrics") {
    response.writeHead(200, { "content-type": PROMETHEUS_TYPE });
    response.end(replicaMetricsText(replica.config.name, replica.counts));
    return;
  }
  const nonce = request.method === "GET" ? nonceOf(path) : null;
  if (nonce !== null) return sendProof(response, replica.gate.prove(nonce));
  if (await replica.sender.handle(request, response)) return;
  const route = routeOf(path);
  if (request.method !== "POST" || route === null) {
    const message = "A replica answers POST on the paths of its APIs (/v1/chat/completions, …) and GET /healthz, /metrics.";
    return sendError(response, "chat", apiError("not_found", message), "");
  }
  await infer(replica, request, response, route);
}

function routeOf(path: string): Route | null {
  const counts = COUNTS.get(path);
  if (counts !== undefined) return { api: counts.api, work: "count" };
  if (path === "/v1/prewarm") return { api: "chat", work: "prewarm" };
  const api = apiOfPath(path);
  return api === null ? null : { api, work: "generate" };
}

async function infer(replica: Replica, request: IncomingMessage, response: ServerResponse, route: Route): Promise<void> {
  const { api, work } = route;
  const refuse = (error: ApiError): void => sendError(response, api, error, headerText(request, HEADER.requestId) ?? "");
  const parsed = await parse(request, route);
  if (!parsed.ok) return refuse(parsed.error);
  const [admission, epoch] = [headerText(request, HEADER.admission), headerText(request, HEADER.epoch)];
  const admitted = replica.gate.spend({ admission, epoch, bodyBytes: parsed.body.byteLength }, steadyNowMs());
  if (!admitted.ok) {
    const code = admitted.replaced ? "epoch_replaced" : "invalid_admission";
    return refuse(apiError(code, `The admission is not accepted: ${admitted.why}.`));
  }
  if (work === "count") {
    const counted = await replica.count(parsed.request);
    const { body } = COUNTS.get((request.url ?? "").split("?", 1)[0] ?? "") ?? { body: (tokens: number) => ({ input_tokens: tokens }) };
    return counted.ok ? sendJson(response, 200, body(counted.tokens)) : refuse(counted.error);
  }
  const order = orderOf(request, api, parsed);
  const asked = work === "prewarm" ? { ...parsed.request, maxTokens: 1, stream: false, n: 1 } : parsed.request;
  const started = await replica.start(asked, admitted.admission, order);
  if (!started.ok) return refuse(started.error);
  if (work === "prewarm") return prewarmed(replica, started.run, response);
  // Behind an alias the edge says which model it is.
  const model = headerText(request, HEADER.model) ?? parsed.request.model;
  const head = { requestId: admitted.admission.id, createdS: Math.floor(Date.now() / 1000), model };
  const ticket = headerText(request, HEADER.resultTicket) ?? null;
  await reply({
    request: parsed.request,
    run: started.run,
    head,
    response,
    keep: (answer) => handUp(replica.config.join, ticket, { head, request: parsed.request, answer }),
  });
}

/** The prompt is computed and kept; its first token is nobody's. A failure cuts the answer, and the edge asks another replica. */
async function prewarmed(replica: Replica, run: Run, response: ServerResponse): Promise<void> {
  response.on("close", () => run.cancel());
  response.writeHead(200, { "content-type": "application/json" });
  response.flushHeaders();
  const pulse = new Pulse(response, false);
  try {
    for await (const { event } of run.events) {
      if (event.type !== "finished") continue;
      if (event.reason === "error" || event.reason === "cancelled") return void response.destroy();
      const { promptTokens, cachedTokens } = event;
      const told = { object: "prewarm", model: replica.model, replica: replica.config.name, tier: "device" };
      response.end(JSON.stringify({ ...told, prompt_tokens: promptTokens, cached_tokens: cachedTokens }));
    }
  } finally {
    pulse.end();
    run.cancel();
  }
}

async function parse(request: IncomingMessage, { api, work }: Route): Promise<Parsed> {
  const body = await readBody(request);
  if (body === null) return { ok: false, error: apiError("request_too_large", "The body is larger than 8 MiB.") };
  const headers = (name: string): string | undefined => headerText(request, name);
  const historyBytes = Number(headers(HEADER.historyBytes) ?? 0);
  const parsed = parseBody(body, { api, historyBytes, headers, counts: work === "count" });
  return parsed.ok ? { ...parsed, body, historyBytes } : parsed;
}

const LOAD: Readonly<Record<string, boolean>> = { "0": false, "1": true };

/** Where else the KV is to be had, and for how long it should stay, as the edge says it. */
function orderOf(request: IncomingMessage, api: ApiName, { body, historyBytes }: { body: Uint8Array; historyBytes: number }) {
  const source = (name: string) => parseSource(headerText(request, name) ?? "");
  const pinMs = Number(headerText(request, HEADER.pinMs) ?? Number.NaN);
  return {
    prefill: source(HEADER.prefill),
    pull: source(HEADER.pull),
    load: LOAD[headerText(request, HEADER.load) ?? ""] ?? null,
    api,
    historyBytes,
    body,
    pinMs: Number.isFinite(pinMs) && pinMs > 0 ? pinMs : null,
  };
}

function headerText(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

async function readBody(request: IncomingMessage): Promise<Uint8Array | null> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of request as AsyncIterable<Uint8Array>) {
    length += part.byteLength;
    if (length > MOST_BODY_BYTES) return null;
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** 503 before the welcome: there is no key to sign with. */
function sendProof(response: ServerResponse, proof: string | null): void {
  response.writeHead(proof === null ? 503 : 200, { "content-type": "text/plain", "cache-control": "no-store" });
  response.end(proof ?? "");
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const text = JSON.stringify(value);
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
  response.end(text);
}

function sendError(response: ServerResponse, api: ApiName, error: ApiError, requestId: string): void {
  if (error.retryAfterSeconds !== undefined) response.setHeader("retry-after", error.retryAfterSeconds);
  sendJson(response, errorStatus(api, error), errorBody(api, error, requestId));
}
