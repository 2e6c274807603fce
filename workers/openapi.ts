/** GET /openapi.json: what can be asked here, by hand and compactly. Bodies are those of the APIs' own documents, so their schemas stay loose. */
import type { Handler } from "hono";
import { API_TABLE, type ApiRow } from "../src/wire/api-table.ts";
import type { AppEnv } from "./context.ts";

type Json = Record<string, unknown>;

const ref = (name: string): Json => ({ $ref: `#/components/schemas/${name}` });
const content = (schema: Json, type = "application/json"): Json => ({ content: { [type]: { schema } } });
const query = (name: string, schema: Json): Json => ({ name, in: "query", required: false, schema });

const PIN = {
  name: "x-warmpath-pin",
  in: "header",
  required: false,
  description: "How long the prompt's blocks should stay, 1s to 1h, as 15m; on every request that has a prompt.",
  schema: { type: "string", pattern: "^[0-9]{1,6}[smh]$" },
};

const OPENAI_FAILS = { default: { description: "An error, in OpenAI's envelope.", ...content(ref("OpenaiError")) } };
const ANTHROPIC_FAILS = { default: { description: "An error, in Anthropic's envelope.", ...content(ref("AnthropicError")) } };

const answers = (description: string, schema: Json, fails: Json = OPENAI_FAILS): Json => ({
  responses: { "200": { description, ...content(schema) }, ...fails },
});

const pathParameters = (path: string): Json[] =>
  [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({ name, in: "path", required: true, schema: { type: "string" } }));

/** What a replica answers: JSON, or with `stream` events of the API's own. */
function inferenceOperation({ api, work, operationId, summary, schema }: ApiRow): Json {
  const fails = api === "messages" ? ANTHROPIC_FAILS : OPENAI_FAILS;
  const asked = { operationId, summary, requestBody: { required: true, ...content(ref(schema)) } };
  if (work === "prewarm") return { ...asked, ...answers("It is prefilled.", ref("Prewarmed"), fails), parameters: [PIN] };
  const streams = work === "generate";
  const ok = {
    description: streams ? "The answer; with `stream: true` server-sent events." : "The count.",
    headers: streams ? SERVED_BY : {},
    content: { "application/json": { schema: anyObject }, ...(streams ? { "text/event-stream": { schema: text } } : {}) },
  };
  return { ...asked, responses: { "200": ok, ...fails } };
}

const header = (description: string): Json => ({ description, schema: { type: "string" } });
const SERVED_BY: Json = {
  "x-request-id": header("Names the request; GET /v1/decisions/{id} says why it went where it went."),
  "x-warmpath-pool": header("The pool that served it."),
  "x-warmpath-model": header("The model that served it, which an alias does not tell."),
  "x-warmpath-pool-reason": header("Why that pool, where several serve the model."),
  "x-warmpath-replica": header("The replica that served it."),
  "x-warmpath-cached-tokens": header("Prompt tokens that the pool expected to be cached there."),
  "x-warmpath-attempts": header("How many replicas were tried."),
};

const body = (required: readonly string[], properties: Json): Json => ({
  type: "object",
  required,
  properties,
  additionalProperties: true,
});
const text: Json = { type: "string" };
const flag: Json = { type: "boolean" };
const tokens: Json = { type: "integer", minimum: 1 };
const count: Json = { type: "integer", minimum: 0 };
const anything: Json = {};
const list: Json = { type: "array", items: anything };
const objects: Json = { type: "array", items: { type: "object" } };

const SCHEMAS: Json = {
  ChatRequest: body(["model", "messages"], {
    model: text,
    messages: objects,
    tools: objects,
    tool_choice: anything,
    response_format: { type: "object" },
    stream: flag,
    max_completion_tokens: tokens,
    temperature: { type: "number", minimum: 0, maximum: 2 },
    n: { type: "integer", minimum: 1, maximum: 8 },
    stop: anything,
    seed: { type: "integer" },
  }),
  CompletionRequest: body(["model", "prompt"], { model: text, prompt: anything, stream: flag, max_tokens: tokens, echo: flag }),
  MessagesRequest: body(["model", "messages", "max_tokens"], {
    model: text,
    messages: objects,
    system: anything,
    tools: objects,
    stream: flag,
    max_tokens: tokens,
  }),
  CountTokensRequest: body(["model", "messages"], { model: text, messages: objects, system: anything, tools: objects }),
  ResponsesRequest: body(["model", "input"], {
    model: text,
    input: anything,
    instructions: text,
    previous_response_id: text,
    store: { type: "boolean", default: true },
    stream: flag,
    tools: objects,
    max_output_tokens: tokens,
  }),
  Prewarmed: body(["object", "prompt_tokens", "cached_tokens", "replica", "tier"], {
    object: { const: "prewarm" },
    prompt_tokens: count,
    cached_tokens: count,
    replica: text,
    tier: { enum: ["device", "host", "disk", "store"] },
  }),
  Result: body(["response", "inputItems", "messages"], { response: { type: "object" }, inputItems: objects, messages: objects }),
  OpenaiError: body(["error"], {
    error: body(["message", "type", "param", "code"], {
      message: text,
      type: text,
      param: { type: ["string", "null"] },
      code: { type: ["string", "null"] },
    }),
  }),
  AnthropicError: body(["type", "error"], {
    type: { const: "error" },
    error: body(["type", "message"], { type: text, message: text }),
    request_id: text,
  }),
  List: body(["data"], { data: list }),
  Decisions: body(["object", "pool", "pools", "funnel", "hindsight", "data"], {
    object: { const: "list" },
    pool: { type: ["string", "null"] },
    pools: { type: "array", items: text },
    funnel: { type: "object", additionalProperties: count },
    hindsight: { type: "object", additionalProperties: { type: "number" } },
    data: objects,
  }),
};

const open = (operation: Json): Json => ({ ...operation, security: [] });
const anyObject: Json = { type: "object" };
const says = (operationId: string, summary: string, description: string, schema: Json = anyObject): Json => ({
  operationId,
  summary,
  ...answers(description, schema),
});

const PATHS: Record<string, Json> = {
  "/": { get: open(says("about", "What this is; to a browser, which accepts HTML, the console", "A few words.")) },
  "/console/{file}": { get: open(says("consoleFile", "What the console loads", "A script, a style sheet or an icon.")) },
  "/openapi.json": { get: open(says("openapi", "This document", "OpenAPI 3.1.")) },
  "/healthz": { get: open(says("health", "Whether replicas are there; 503 while there are none", "The pools and their replicas.")) },
  "/health": { get: open(says("healthAlias", "The same", "The pools and their replicas.")) },
  "/metrics": {
    get: {
      operationId: "metrics",
      summary: "Prometheus metrics; without a key only for programs of the edge's own machine, where it listens on loopback only",
      security: [{ bearer: [] }, { apiKey: [] }, {}],
      responses: { "200": { description: "Prometheus text.", ...content(text, "text/plain") }, ...OPENAI_FAILS },
    },
  },
  "/announce/{pool}": {
    get: open({
      operationId: "announce",
      summary: "Replicas open their WebSocket here",
      responses: { "101": { description: "The socket is open." }, ...OPENAI_FAILS },
    }),
  },
  "/internal/results/{id}": {
    put: {
      operationId: "storeResult",
      summary: "A replica stores the result of a response, once",
      security: [{ resultTicket: [] }],
      requestBody: { required: true, ...content(ref("Result")) },
      responses: { "204": { description: "It is stored." }, ...OPENAI_FAILS },
    },
  },
  ...Object.fromEntries(API_TABLE.map((row) => [row.path, { post: inferenceOperation(row) }])),
  "/v1/responses/{id}": {
    get: says("getResponse", "A stored response", "The response as it was answered."),
    delete: says("deleteResponse", "Delete a stored response", "It is deleted."),
  },
  "/v1/responses/{id}/input_items": {
    get: {
      ...says("listInputItems", "The input of a stored response", "A page of items.", ref("List")),
      parameters: [
        query("after", text),
        query("limit", { type: "integer", minimum: 1, maximum: 100, default: 20 }),
        query("order", { enum: ["asc", "desc"], default: "desc" }),
      ],
    },
  },
  "/v1/responses/{id}/cancel": {
    post: says("cancelResponse", "Refused: only background responses can be cancelled, and there are none", "Never."),
  },
  "/v1/models": {
    get: says("listModels", "The models served; with `anthropic-version` in Anthropic's shape", "The models.", ref("List")),
  },
  "/v1/models/{id}": { get: says("getModel", "One model", "The model.") },
  "/v1/replicas": {
    get: says("listReplicas", "The replicas of all pools: who is there, what waits, how full each tier is", "A pool each.", ref("List")),
  },
  "/v1/decisions": {
    get: {
      ...says(
        "listDecisions",
        "The last decisions, newest last, each with what it takes to decide it again",
        "Decisions, the funnel of reuse, and how decisions look in hindsight.",
        ref("Decisions"),
      ),
      parameters: [query("limit", { type: "integer", minimum: 1, maximum: 1_000, default: 100 }), query("pool", text)],
    },
  },
  "/v1/decisions/{id}": {
    get: says(
      "getDecision",
      "Why a request went where it went, by its id or its answer's",
      "Every attempt in words, with each candidate's numbers.",
    ),
  },
};

const DOCUMENT = {
  openapi: "3.1.0",
  info: { title: "Warmpath", version: "0", description: "OpenAI's and Anthropic's APIs over replicas that keep their KV caches warm." },
  security: [{ bearer: [] }, { apiKey: [] }],
  paths: Object.fromEntries(
    Object.entries(PATHS).map(([path, operations]) => {
      const parameters = pathParameters(path);
      return [path, parameters.length === 0 ? operations : { parameters, ...operations }];
    }),
  ),
  components: {
    schemas: SCHEMAS,
    securitySchemes: {
      bearer: { type: "http", scheme: "bearer" },
      apiKey: { type: "apiKey", in: "header", name: "x-api-key" },
      resultTicket: { type: "apiKey", in: "header", name: "x-warmpath-result-ticket" },
    },
  },
};

export const openapi: Handler<AppEnv> = (c) => c.json(DOCUMENT);
