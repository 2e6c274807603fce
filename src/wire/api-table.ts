/**
 * The inference endpoints, a row each. The edge's routes, the API of a path and the entries of GET /openapi.json are made from it. What
 * differs by API stands below it; parsers and writers, which are code, stand in apis.ts.
 *
 * @example
 * { path: "/v1/messages", api: "messages", work: "generate", operationId: "createMessage", summary: "Anthropic messages", schema: "MessagesRequest" }
 */

/** generate: an answer is written. count: only the prompt's tokens are counted. prewarm: the prompt is prefilled and kept for who comes next. */
export type Work = "generate" | "count" | "prewarm";

export interface ApiRow {
  /** Of the URL, as it stands. */
  path: `/v1/${string}`;
  /** Whose body and error envelope it has. */
  api: ApiName;
  work: Work;
  operationId: string;
  summary: string;
  /** Of the body, by its name in GET /openapi.json. */
  schema: string;
  /** Where tokens are counted: the answer. */
  count?: (tokens: number) => object;
}

/** What differs by API, besides its parser and its writer. */
interface ApiFacts {
  /** Whose shape its errors have. */
  errors: "openai" | "anthropic";
  /** Where the prompt stands in a body. */
  promptParam: string;
  /** Where the schema of an answer's format stands. */
  formatParam: string;
}

export const API_FACTS = {
  chat: { errors: "openai", promptParam: "messages", formatParam: "response_format.json_schema.schema" },
  completions: { errors: "openai", promptParam: "prompt", formatParam: "response_format" },
  responses: { errors: "openai", promptParam: "input", formatParam: "text.format.schema" },
  messages: { errors: "anthropic", promptParam: "messages", formatParam: "output_config.format.schema" },
} as const satisfies Readonly<Record<string, ApiFacts>>;

export type ApiName = keyof typeof API_FACTS;

const row = (
  path: ApiRow["path"],
  api: ApiName,
  work: Work,
  operationId: string,
  summary: string,
  schema: string,
  count: Required<ApiRow>["count"] = (tokens) => ({ input_tokens: tokens }),
): ApiRow => ({ path, api, work, operationId, summary, schema, ...(work === "count" ? { count } : {}) });

export const API_TABLE: readonly ApiRow[] = [
  row("/v1/chat/completions", "chat", "generate", "createChatCompletion", "OpenAI chat completions", "ChatRequest"),
  row("/v1/completions", "completions", "generate", "createCompletion", "OpenAI completions", "CompletionRequest"),
  row("/v1/messages", "messages", "generate", "createMessage", "Anthropic messages", "MessagesRequest"),
  row("/v1/messages/count_tokens", "messages", "count", "countMessageTokens", "Count a message's input tokens", "CountTokensRequest"),
  row("/v1/responses", "responses", "generate", "createResponse", "OpenAI responses", "ResponsesRequest"),
  row(
    "/v1/responses/input_tokens",
    "responses",
    "count",
    "countResponseTokens",
    "Count a response's input tokens",
    "ResponsesRequest",
    (tokens) => ({ object: "response.input_tokens", input_tokens: tokens }),
  ),
  row("/v1/prewarm", "chat", "prewarm", "prewarm", "Prefill a chat's prompt and keep it for who comes next", "ChatRequest"),
];

const BY_PATH: ReadonlyMap<string, ApiRow> = new Map(API_TABLE.map((each) => [each.path, each]));

/** Of a URL's path, as it stands; null: no inference endpoint. */
export function apiRowOf(path: string): ApiRow | null {
  return BY_PATH.get(path) ?? null;
}
