/** The replica's HTTP side: every API's answers and token counts for the edge, and a health page. */
import { apiRowOf, type ApiName } from "../src/wire/api-table.ts";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type ApiError, apiError } from "../src/errors.ts";
import { errorBody, errorStatus, retryHeaders } from "../src/wire/envelope.ts";
import { HEADER } from "../src/wire/headers.ts";
import type { Admission } from "../src/wire/admission.ts";
import { PROMETHEUS_TYPE } from "../src/prometheus.ts";
import { parseSource } from "../src/wire/ticket.ts";
import { nonceOf } from "../src/wire/way-back.ts";
import { Acceptance } from "./acceptance.ts";
import { storeResponse } from "./store-response.ts";
import { replicaMetricsText } from "./metrics.ts";
import { parseBody } from "./parse-body.ts";
import { KeepAlive } from "./keep-alive.ts";
import type { Replica, Run } from "./replica.ts";
import { reply } from "./reply.ts";
import { RequestWatch, type ServedRequest } from "./served-request.ts";
import { steadyNowMs } from "./steady-clock.ts";

const MAX_BODY_BYTES = 8 * 1024 * 1024;
/** A body that nobody wants may still come to its end within so long: cut off while it sends, an edge may see a reset and no answer. */
const UNREAD_MS = 1_000;

type Admitted = { ok: true; admission: Admission; body: Uint8Array; historyBytes: number } | { ok: false; error: ApiError };

/** Status of what this replica has no room for: the edge asks another, and tells of it if there is none. */
const RETRIED = 503;

interface Route {
  path: string;
  api: ApiName;
  work: "generate" | "count" | "prewarm";
}

type Watched = Route & { watch: RequestWatch };

/** `served`: called at the end of each answer, but for those that the edge asks for again elsewhere. */
export function createReplicaServer(replica: Replica, served: (request: ServedRequest) => void = () => undefined): Server {
  const server = createServer({ keepAliveTimeout: 60_000, requestTimeout: 120_000 }, (request, response) => {
    // Tokens are small and must not wait for each other's acknowledgement.
    response.socket?.setNoDelay(true);
    handle(replica, request, response, served).catch((error: unknown) => {
      process.stderr.write(`unexpected: ${error instanceof Error ? error.stack : "no error object"}\n`);
      if (response.headersSent) response.destroy();
      else sendError(response, "chat", apiError("internal", "Something failed in the replica."), "");
    });
  });
  return server;
}

async function handle(
  replica: Replica,
  request: IncomingMessage,
  response: ServerResponse,
  served: (request: ServedRequest) => void,
): Promise<void> {
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
  const watch = new RequestWatch(request.method, path);
  response.once("close", () => {
    const told = watch.served(response);
    if (watch.isAdmitted && told.status !== RETRIED) served(told);
  });
  await infer(replica, request, response, { ...route, watch });
}

function routeOf(path: string): Route | null {
  const row = apiRowOf(path);
  return row === null ? null : { path, api: row.api, work: row.work };
}

async function infer(replica: Replica, request: IncomingMessage, response: ServerResponse, route: Watched): Promise<void> {
  const requestId = headerText(request, HEADER.requestId) ?? "";
  const admitted = await admit(replica, request, route.path);
  if (!admitted.ok) {
    leaveUnread(request, response);
    return sendError(response, route.api, admitted.error, requestId);
  }
  route.watch.isAdmitted = true;
  const acceptance = new Acceptance(response);
  try {
    await answer(replica, request, { response, acceptance, route, admitted, requestId });
  } catch (error) {
    if (!acceptance.hasBegun) acceptance.abandon();
    throw error;
  }
}

/** By its headers first: what is not admitted is not read. */
async function admit(replica: Replica, request: IncomingMessage, path: string): Promise<Admitted> {
  const refused = (why: string, replaced = false): Admitted => {
    return { ok: false, error: apiError(replaced ? "epoch_replaced" : "invalid_admission", `The admission is not accepted: ${why}.`) };
  };
  const declared = headerText(request, "content-length");
  const bodyBytes = declared === undefined ? null : Number(declared);
  const [admission, epoch] = [headerText(request, HEADER.admission), headerText(request, HEADER.epoch)];
  const spent = replica.gate.spend({ admission, epoch, path, bodyBytes }, steadyNowMs());
  if (!spent.ok) return refused(spent.why, spent.replaced);
  const body = await readBody(request, spent.admission.bodyBytes);
  const historyBytes = Number(headerText(request, HEADER.historyBytes) ?? 0);
  if (body === null || !replica.gate.isAdmitted(spent.admission, body, historyBytes)) return refused("it was given for another body");
  return { ok: true, admission: spent.admission, body, historyBytes };
}

/** Node reads what is left of the body and drops it; not for ever. */
function leaveUnread(request: IncomingMessage, response: ServerResponse): void {
  if (request.complete) return;
  const end = (): void => {
    if (!request.complete) request.destroy();
  };
  response.once("finish", () => setTimeout(end, UNREAD_MS).unref());
}

interface Answering {
  response: ServerResponse;
  acceptance: Acceptance;
  route: Watched;
  admitted: Extract<Admitted, { ok: true }>;
  requestId: string;
}

async function answer(
  replica: Replica,
  request: IncomingMessage,
  { response, acceptance, route, admitted, requestId }: Answering,
): Promise<void> {
  const { api, work, path, watch } = route;
  const { admission, body, historyBytes } = admitted;
  const send = (status: number, value: unknown): void => {
    const text = JSON.stringify(value);
    watch.status = status;
    acceptance.begin(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
    response.end(text);
  };
  const refuse = (error: ApiError): void => {
    if (!response.headersSent) response.setHeaders(new Map(Object.entries(retryHeaders(error))));
    send(errorStatus(api, error), errorBody(api, error, requestId));
  };
  const headers = (name: string): string | undefined => headerText(request, name);
  const parsed = await parseBody(body, { api, historyBytes, headers, counts: work === "count" });
  if (!parsed.ok) return refuse(parsed.error);
  // Behind an alias the edge says which model it is.
  const model = headerText(request, HEADER.model) ?? parsed.request.model;
  watch.model = model;
  if (work === "count") {
    const counted = await replica.count(parsed.request);
    return counted.ok ? send(200, apiRowOf(path)?.count?.(counted.tokens) ?? {}) : refuse(counted.error);
  }
  const order = orderOf(request, api, admitted);
  const asked = work === "prewarm" ? { ...parsed.request, maxTokens: 1, stream: false, n: 1 } : parsed.request;
  const started = await replica.start(asked, admission, order);
  if (!started.ok) return refuse(started.error);
  const run = { ...started.run, events: watch.follow(started.run.events) };
  if (work === "prewarm") return prewarmed(replica, run, response, acceptance);
  const head = { requestId: admission.id, createdS: Math.floor(Date.now() / 1000), model };
  const ticket = headerText(request, HEADER.resultTicket) ?? null;
  await reply({
    request: parsed.request,
    run,
    head,
    response,
    acceptance,
    keep: (answer) => storeResponse(replica.config.join, ticket, { head, request: parsed.request, answer }),
  });
}

/** The prompt is computed and kept; its first token is nobody's. A failure cuts the answer, and the edge asks another replica. */
async function prewarmed(replica: Replica, run: Run, response: ServerResponse, acceptance: Acceptance): Promise<void> {
  response.on("close", () => run.cancel());
  acceptance.begin(200, { "content-type": "application/json" });
  response.flushHeaders();
  const keepAlive = new KeepAlive(response, false);
  try {
    for await (const { event } of run.events) {
      if (event.type !== "finished") continue;
      if (event.reason === "error" || event.reason === "cancelled") return void response.destroy();
      const { promptTokens, cachedTokens } = event;
      const told = { object: "prewarm", model: replica.model, replica: replica.config.name, tier: "device" };
      response.end(JSON.stringify({ ...told, prompt_tokens: promptTokens, cached_tokens: cachedTokens }));
    }
  } finally {
    keepAlive.end();
    run.cancel();
  }
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

/** Null: longer than `most`, or cut. */
async function readBody(request: IncomingMessage, most: number): Promise<Uint8Array | null> {
  const parts: Uint8Array[] = [];
  let length = 0;
  try {
    // Left early it stays open: the refusal goes back over it.
    for await (const part of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>) {
      length += part.byteLength;
      if (length > Math.min(most, MAX_BODY_BYTES)) return null;
      parts.push(part);
    }
  } catch {
    // The edge has gone.
    return null;
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
  response.setHeaders(new Map(Object.entries(retryHeaders(error))));
  sendJson(response, errorStatus(api, error), errorBody(api, error, requestId));
}
