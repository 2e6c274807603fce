/** The replica's HTTP side: every API's answers and token counts for the edge, and a health page. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type ApiError, apiError } from "../src/errors.ts";
import type { ChatMessage } from "../src/prefix/prompt.ts";
import { apiOfPath, errorBody, errorStatus, parserOf } from "../src/wire/envelope.ts";
import { HEADER } from "../src/wire/headers.ts";
import type { ApiName, InnerRequest } from "../src/wire/inner.ts";
import { decodeJsonBody } from "../src/wire/json-body.ts";
import { handUp } from "./hand-up.ts";
import type { Replica } from "./replica.ts";
import { reply } from "./reply.ts";

const MOST_BODY_BYTES = 8 * 1024 * 1024;
const COUNTS: ReadonlyMap<string, { api: ApiName; body: (tokens: number) => object }> = new Map([
  ["/v1/messages/count_tokens", { api: "messages", body: (tokens) => ({ input_tokens: tokens }) }],
  ["/v1/responses/input_tokens", { api: "responses", body: (tokens) => ({ object: "response.input_tokens", input_tokens: tokens }) }],
]);

const decoder = new TextDecoder("utf-8", { fatal: true });

type Parsed = { ok: true; request: InnerRequest; bodyBytes: number } | { ok: false; error: ApiError };

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
  const counts = COUNTS.get(path);
  const api = counts?.api ?? apiOfPath(path);
  if (request.method !== "POST" || api === null) {
    const message = "A replica answers POST on the paths of its APIs (/v1/chat/completions, …) and GET /healthz.";
    return sendError(response, "chat", apiError("not_found", message), "");
  }
  const refuse = (error: ApiError): void => sendError(response, api, error, headerText(request, HEADER.requestId) ?? "");
  const parsed = await parse(request, api, counts !== undefined);
  if (!parsed.ok) return refuse(parsed.error);
  const admitted = replica.gate.spend(headerText(request, HEADER.admission), parsed.bodyBytes, Date.now());
  if (!admitted.ok) return refuse(apiError("invalid_admission", `The admission is not accepted: ${admitted.why}.`));
  if (counts !== undefined) {
    const counted = await replica.count(parsed.request);
    return counted.ok ? sendJson(response, 200, counts.body(counted.tokens)) : refuse(counted.error);
  }
  const started = await replica.start(parsed.request, admitted.admission);
  if (!started.ok) return refuse(started.error);
  const head = { requestId: admitted.admission.id, createdS: Math.floor(Date.now() / 1000), model: parsed.request.model };
  const ticket = headerText(request, HEADER.resultTicket) ?? null;
  await reply({
    request: parsed.request,
    run: started.run,
    head,
    response,
    keep: (answer) => handUp(replica.config.join, ticket, { head, request: parsed.request, answer }),
  });
}

/** The body is the client's own, behind the conversation so far where the edge keeps that. */
async function parse(request: IncomingMessage, api: ApiName, counts: boolean): Promise<Parsed> {
  const body = await readBody(request);
  if (body === null) return { ok: false, error: apiError("request_too_large", "The body is larger than 8 MiB.") };
  const historyBytes = Number(headerText(request, HEADER.historyBytes) ?? 0);
  if (!Number.isInteger(historyBytes) || historyBytes < 0 || historyBytes > body.byteLength) {
    return { ok: false, error: apiError("invalid_request", "The body is shorter than its history is said to be.") };
  }
  let history: ChatMessage[] = [];
  if (historyBytes > 0) {
    const decoded = decodeJsonBody(body.subarray(0, historyBytes), decoder);
    if (!decoded.ok) return decoded;
    if (!Array.isArray(decoded.value)) return { ok: false, error: apiError("invalid_request", "The history is not an array of messages.") };
    // The edge's own, made here or in another replica by the same code.
    history = decoded.value as ChatMessage[];
  }
  const json = decodeJsonBody(body.subarray(historyBytes), decoder);
  if (!json.ok) return json;
  const parsed = parserOf(api)(json.value, { headers: (name) => headerText(request, name), history, counts });
  return parsed.ok ? { ...parsed, bodyBytes: body.byteLength } : parsed;
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

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const text = JSON.stringify(value);
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
  response.end(text);
}

function sendError(response: ServerResponse, api: ApiName, error: ApiError, requestId: string): void {
  if (error.retryAfterSeconds !== undefined) response.setHeader("retry-after", error.retryAfterSeconds);
  sendJson(response, errorStatus(api, error), errorBody(api, error, requestId));
}
