/** A server that speaks OpenAI's API as vLLM 0.32 does, over the embedded engine: what it answers is computed. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { EngineEvent, EngineRefusal, EngineRequest, EngineRun } from "../../gpu-backend/engine/engine.ts";
import type { LlamaEngine } from "../../gpu-backend/engine/llama-cpp/engine.ts";
import { plainSampling } from "../conformance/engine-runs.ts";
import { startDemo } from "./engine-runs.ts";

export type Body = Readonly<Record<string, unknown>>;

export interface OpenAiServer {
  url: string;
  /** As they came, of completions. */
  bodies: Body[];
  /** Headers of the last request. */
  headers: IncomingMessage["headers"];
  engine: LlamaEngine;
  /** Answers instead of all else, once, where it takes the request. */
  next: ((request: IncomingMessage, response: ServerResponse) => void) | null;
  /** Kills connections and frees the port; its engine lives on. */
  stop(): Promise<void>;
  /** On the same port again. */
  start(): Promise<void>;
  close(): Promise<void>;
}

export interface ServerOptions {
  key?: string;
  /** Default: as vLLM with --enable-prompt-tokens-details. */
  reportsCached?: boolean;
  /** False: a server without /tokenize and /version. */
  isVllm?: boolean;
  contextTokens?: number;
  /** Default: any that is free. */
  port?: number;
  /** Comes before all else; true: it has answered. */
  first?: (path: string, body: Body, response: ServerResponse) => Promise<boolean>;
  /** Before a completion runs on the engine. */
  runs?: (engine: LlamaEngine, request: EngineRequest) => Promise<void>;
}

const MODEL = "demo-served";
let serial = 0;

export async function openAiServer(options: ServerOptions = {}): Promise<OpenAiServer> {
  const { key, reportsCached = true, isVllm = true, contextTokens = 8_192 } = options;
  const engine = await startDemo({ sequences: 3, queueLimit: 16, contextTokens });
  let http: Server;
  let port = options.port ?? 0;
  const start = async (): Promise<void> => {
    http = createServer((request, response) => void serve(request, response));
    await new Promise<void>((resolve) => http.listen(port, "127.0.0.1", resolve));
    ({ port } = http.address() as AddressInfo);
  };
  const stop = (): Promise<void> =>
    new Promise((resolve) => {
      http.close(() => resolve());
      http.closeAllConnections();
    });
  const server: OpenAiServer = {
    url: "",
    bodies: [],
    headers: {},
    engine,
    next: null,
    stop,
    start,
    close: async () => {
      await stop();
      await engine.close();
    },
  };
  await start();
  server.url = `http://127.0.0.1:${port}`;

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    server.headers = request.headers;
    const body = (parts.length === 0 ? {} : JSON.parse(Buffer.concat(parts).toString())) as Body;
    const { next } = server;
    // The adapter's own request comes when it likes.
    if (next !== null && request.url === "/v1/completions" && body["prompt"] !== "Hello") {
      server.next = null;
      return next(request, response);
    }
    if (key !== undefined && request.headers.authorization !== `Bearer ${key}`) return fail(response, 401, "Unauthorized");
    if ((await options.first?.(request.url ?? "", body, response)) === true) return;
    if (request.url === "/v1/models")
      return send(response, { object: "list", data: [{ id: MODEL, object: "model", max_model_len: contextTokens }] });
    if (request.url === "/version" && isVllm) return send(response, { version: "0.32.0" });
    if (request.url === "/metrics" && isVllm) {
      const { blockTokens, kvTokens } = engine.card;
      const labels = `block_size="${blockTokens}",engine="0",num_gpu_blocks="${kvTokens / blockTokens}",prefix_caching_hash_algo="sha256"`;
      return void response.end(`# TYPE vllm:cache_config_info gauge\nvllm:cache_config_info{${labels}} 1.0\n`);
    }
    if (request.url === "/tokenize" && isVllm) return tokenized(body, response);
    if (request.url === "/v1/completions") return completions(body, response);
    return send(response, { detail: "Not Found" }, 404);
  }

  async function tokenized({ prompt }: Body, response: ServerResponse): Promise<void> {
    const prepared = await engine.prepare(engineRequest({ prompt }));
    if (prepared.type === "refused") return refuse(response, prepared);
    const tokens = [...(prepared.tokens ?? [])];
    return send(response, { count: tokens.length, max_model_len: contextTokens, tokens, token_strs: null });
  }

  async function completions(body: Body, response: ServerResponse): Promise<void> {
    server.bodies.push(body);
    if (body["model"] !== MODEL) return fail(response, 404, "The model does not exist.");
    const asked = engineRequest(body);
    await options.runs?.(engine, asked);
    const run = await engine.run(asked);
    if (run.type === "refused") return refuse(response, run);
    response.on("close", () => run.abort());
    if (body["stream"] !== true) return whole(run, response);
    response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
    response.flushHeaders();
    let [promptTokens, outputTokens] = [0, 0];
    for await (const event of run.events) {
      if (response.destroyed) return;
      if (event.type === "queued") promptTokens = event.promptTokens;
      if (event.type === "delta") outputTokens += event.tokens;
      const usage = { prompt_tokens: promptTokens, completion_tokens: outputTokens, total_tokens: promptTokens + outputTokens };
      const more = body["stream_options"] as { continuous_usage_stats?: boolean };
      for (const text of textsOf(event, more.continuous_usage_stats === true ? usage : null, reportsCached)) {
        if (!response.write(text)) await new Promise((resolve) => response.once("drain", resolve).once("close", resolve));
      }
    }
    response.end("data: [DONE]\n\n");
  }

  async function whole(run: EngineRun, response: ServerResponse): Promise<void> {
    let [text, usage]: [string, object] = ["", {}];
    for await (const event of run.events) {
      if (event.type === "delta") text += event.text;
      if (event.type === "finished") usage = usageOf(event, reportsCached);
    }
    send(response, {
      id: "cmpl-1",
      object: "text_completion",
      model: MODEL,
      choices: [{ index: 0, text, finish_reason: "length" }],
      usage,
    });
  }

  return server;
}

function usageOf({ promptTokens, outputTokens, cachedTokens }: EngineEvent & { type: "finished" }, reportsCached: boolean): object {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: outputTokens,
    total_tokens: promptTokens + outputTokens,
    prompt_tokens_details: reportsCached ? { cached_tokens: cachedTokens } : null,
  };
}

function* textsOf(event: EngineEvent, usage: object | null, reportsCached: boolean): Generator<string> {
  const chunk = (choices: object[], told: object | null): string =>
    `data: ${JSON.stringify({ id: "cmpl-1", object: "text_completion", created: 1, model: MODEL, choices, ...(told === null ? {} : { usage: told }) })}\n\n`;
  if (event.type === "delta") {
    const logprobs =
      event.logprobs === null
        ? null
        : {
            tokens: event.logprobs.map(({ token }) => token),
            token_logprobs: event.logprobs.map(({ logprob }) => logprob),
            top_logprobs: event.logprobs.map(({ top }) => Object.fromEntries(top.map(({ token, logprob }) => [token, logprob]))),
            text_offset: [],
          };
    yield chunk([{ index: 0, text: event.text, logprobs, finish_reason: null, stop_reason: null }], usage);
  }
  if (event.type !== "finished") return;
  const reason = event.reason === "stop" || event.reason === "length" ? event.reason : "abort";
  yield chunk([{ index: 0, text: "", logprobs: null, finish_reason: reason, stop_reason: null }], usage);
  yield chunk([], usageOf(event, reportsCached));
}

/** vLLM's body as the embedded engine's request. */
function engineRequest(body: Body): EngineRequest {
  const { prompt, max_tokens: maxTokens = 16, temperature = 1, top_p: topP = 1, seed = 1, cache_salt: salt = "" } = body;
  const format = body["response_format"] as { type: string; json_schema?: { schema: unknown; strict: boolean } } | undefined;
  const schema = format?.json_schema;
  return {
    ...plainSampling,
    id: `served-${++serial}`,
    ...(typeof prompt === "string" ? { prompt } : { prompt: "", tokens: prompt as number[] }),
    salt: salt as string,
    maxTokens: maxTokens as number,
    temperature: temperature as number,
    topP: topP as number,
    seed: seed as number,
    stop: [],
    presencePenalty: (body["presence_penalty"] ?? 0) as number,
    frequencyPenalty: (body["frequency_penalty"] ?? 0) as number,
    logitBias: new Map(Object.entries((body["logit_bias"] ?? {}) as Record<string, number>).map(([token, bias]) => [Number(token), bias])),
    logprobs: (body["logprobs"] ?? null) as number | null,
    grammar: format === undefined ? null : schema === undefined ? { type: "json_object" } : { type: "json_schema", ...schema },
  };
}

function send(response: ServerResponse, body: object, status = 200): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}

function fail(response: ServerResponse, status: number, message: string): void {
  send(response, { error: { message, type: "Error", param: null, code: status } }, status);
}

/** In vLLM's words. */
function refuse(response: ServerResponse, refusal: EngineRefusal): void {
  if (refusal.reason === "busy") return fail(response, 503, "The engine is currently busy and cannot accept new requests.");
  if (refusal.reason === "unknown_token") return fail(response, 400, "Token id is out of vocabulary");
  if (refusal.reason === "grammar") return fail(response, 400, "Grammar error: unsupported schema");
  if (refusal.reason === "unavailable") return fail(response, 500, "EngineCore encountered an issue.");
  return fail(response, 400, `This model's maximum context length is ${refusal.contextTokens} tokens.`);
}
