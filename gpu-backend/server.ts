/** The replica's HTTP side: chat completions for the edge and a health page. Whole SSE events only. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type ApiError, apiError } from "../src/errors.ts";
import { HEADER } from "../src/wire/headers.ts";
import { type ChatRequest, decodeJsonBody, openaiErrorBody, parseChatRequest } from "../src/wire/openai.ts";
import { type AnswerHead, chatCompletion, ChatChunks } from "../src/wire/openai-answer.ts";
import type { EngineEvent } from "./engine/engine.ts";
import type { Replica, Run } from "./replica.ts";

const MOST_BODY_BYTES = 8 * 1024 * 1024;
/** While a prompt is computed nothing else shows the edge that this replica lives. */
const ALIVE_MS = 1_000;

const decoder = new TextDecoder("utf-8", { fatal: true });

export function createReplicaServer(replica: Replica): Server {
  const server = createServer({ keepAliveTimeout: 60_000, requestTimeout: 120_000 }, (request, response) => {
    // Tokens are small and must not wait for each other's acknowledgement.
    response.socket?.setNoDelay(true);
    handle(replica, request, response).catch((error: unknown) => {
      process.stderr.write(`unexpected: ${error instanceof Error ? error.stack : "no error object"}\n`);
      if (response.headersSent) response.destroy();
      else sendError(response, apiError("internal", "Something failed in the replica."));
    });
  });
  return server;
}

async function handle(replica: Replica, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method === "GET" && request.url === "/healthz") {
    sendJson(response, 200, { status: "ok", model: replica.model, running: replica.runningCount });
    return;
  }
  if (request.method !== "POST" || request.url !== "/v1/chat/completions") {
    sendError(response, apiError("not_found", "A replica answers POST /v1/chat/completions and GET /healthz."));
    return;
  }
  const body = await readBody(request);
  if (body === null) return sendError(response, apiError("request_too_large", "The body is larger than 8 MiB."));
  const json = decodeJsonBody(body, decoder);
  if (!json.ok) return sendError(response, json.error);
  const parsed = parseChatRequest(json.value);
  if (!parsed.ok) return sendError(response, parsed.error);
  const admitted = replica.gate.spend(headerText(request, HEADER.admission), body.byteLength, Date.now());
  if (!admitted.ok) return sendError(response, apiError("invalid_admission", `The admission is not accepted: ${admitted.why}.`));
  const started = await replica.start(parsed.request, admitted.admission);
  if (!started.ok) return sendError(response, started.error);
  await answer(parsed.request, started.run, admitted.admission.id, response);
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

function sendError(response: ServerResponse, error: ApiError): void {
  if (error.retryAfterSeconds !== undefined) response.setHeader("retry-after", error.retryAfterSeconds);
  sendJson(response, error.status, openaiErrorBody(error));
}

async function answer(request: ChatRequest, run: Run, requestId: string, response: ServerResponse): Promise<void> {
  const head: AnswerHead = { id: `chatcmpl-${requestId}`, createdS: Math.floor(Date.now() / 1000), model: request.model };
  response.on("close", () => run.cancel());
  // Gone while the engine took it: that event is over.
  if (response.destroyed) run.cancel();
  response.writeHead(200, {
    "content-type": request.stream ? "text/event-stream; charset=utf-8" : "application/json",
    "cache-control": "no-cache",
  });
  response.flushHeaders();
  // A comment to an SSE reader, white space to a JSON parser.
  const alive = setInterval(() => response.write(request.stream ? ": computing\n\n" : "\n"), ALIVE_MS);
  try {
    if (request.stream) await stream(request, run, head, response, () => clearInterval(alive));
    else await whole(run, head, response, () => clearInterval(alive));
  } finally {
    clearInterval(alive);
    run.cancel();
  }
}

/** Resolves when more may be written, or never will be. */
function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off("drain", done);
      response.off("close", done);
      resolve();
    };
    response.on("drain", done);
    response.on("close", done);
  });
}

type Finished = Extract<EngineEvent, { type: "finished" }>;

const usageCounts = (event: Finished) => ({
  promptTokens: event.promptTokens,
  cachedTokens: event.cachedTokens,
  completionTokens: event.outputTokens,
});

async function whole(run: Run, head: AnswerHead, response: ServerResponse, begun: () => void): Promise<void> {
  let content = "";
  for await (const event of run.events) {
    if (event.type === "delta") content += event.text;
    if (event.type !== "finished") continue;
    begun();
    // The edge takes a cut for a lost replica and asks another one.
    if (event.reason !== "stop" && event.reason !== "length") return void response.destroy();
    response.end(JSON.stringify(chatCompletion(head, { content, toolCalls: [], finishReason: event.reason, usage: usageCounts(event) })));
  }
}

async function stream(request: ChatRequest, run: Run, head: AnswerHead, response: ServerResponse, begun: () => void): Promise<void> {
  const chunks = new ChatChunks(head, { includeUsage: request.includeUsage });
  let first = true;
  const event = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`;
  /** The role comes with the first content, so that nothing before it counts as content. */
  const opening = (): string => {
    if (!first) return "";
    first = false;
    begun();
    return event(chunks.first());
  };
  for await (const step of run.events) {
    let text = "";
    if (step.type === "delta") text = opening() + (step.text === "" ? "" : event(chunks.text(step.text)));
    if (step.type === "finished") {
      if (step.reason === "stop" || step.reason === "length") {
        const usage = chunks.usage(usageCounts(step));
        text = `${opening()}${event(chunks.finish(step.reason))}${usage === null ? "" : event(usage)}data: [DONE]\n\n`;
      } else if (first) {
        return void response.destroy();
      } else {
        text = event(openaiErrorBody(apiError("replica_lost", step.message ?? "The engine failed while it wrote this answer.")));
      }
    }
    // A response that is closed would never drain.
    if (response.destroyed) return;
    if (text !== "" && !response.write(text)) await drained(response);
  }
  response.end();
}
