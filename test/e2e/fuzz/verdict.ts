/** What is wrong with an answer to a case, in words; null = nothing. */
import type { Expected, FuzzCase } from "./cases.ts";

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
}

const ANTHROPIC_TYPES: Readonly<Record<number, string>> = {
  400: "invalid_request_error",
  404: "not_found_error",
  413: "request_too_large",
  415: "invalid_request_error",
};
const OPENAI_CODES: Readonly<Record<number, readonly (string | null)[]>> = {
  400: [null, "context_length_exceeded", "previous_response_not_found"],
  404: [null, "model_not_found"],
  413: ["request_too_large"],
  415: ["unsupported_media_type"],
};
const OBJECTS: Readonly<Record<string, (body: Record<string, unknown>) => boolean>> = {
  "/v1/chat/completions": ({ object }) => object === "chat.completion",
  "/v1/completions": ({ object }) => object === "text_completion",
  "/v1/responses": ({ object, status }) => object === "response" && (status === "completed" || status === "incomplete"),
  "/v1/messages": ({ type }) => type === "message",
  "/v1/messages/count_tokens": ({ input_tokens: tokens }) => Number.isInteger(tokens),
  "/v1/responses/input_tokens": ({ object, input_tokens: tokens }) => object === "response.input_tokens" && Number.isInteger(tokens),
};
const LAST_EVENT: Readonly<Record<string, RegExp>> = {
  "/v1/chat/completions": /\n\ndata: \[DONE\]\n\n$/,
  "/v1/completions": /\n\ndata: \[DONE\]\n\n$/,
  "/v1/responses": /\n\nevent: response\.(?:completed|incomplete)\n[^\n]+\n\n$/,
  "/v1/messages": /\n\nevent: message_stop\n[^\n]+\n\n$/,
};

function keysAre(value: unknown, ...keys: readonly string[]): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  return Object.keys(value).toSorted().join() === keys.toSorted().join();
}

function paramProblem(param: string | null, { param: wanted, near, roots }: Expected): string | null {
  const root = /^[^.[]*/.exec(param ?? "")?.[0] ?? "";
  if (roots !== null && param !== null && !roots.includes(root)) return `blames ${param}, which has to do with none of ${roots.join()}`;
  if (wanted === null || param === wanted) return null;
  if (near && param !== null && (param.startsWith(wanted) || wanted.startsWith(param))) return null;
  return `blames ${param} instead of ${wanted}`;
}

function messageProblem(message: unknown): string | null {
  if (typeof message !== "string") return "no message";
  if (message.length < 10 || message.length > 1_000) return `a message of ${message.length} characters`;
  return /\[object|undefined|NaN/.test(message) ? "an odd message" : null;
}

function openaiProblem(body: unknown, status: number, expected: Expected): string | null {
  if (!keysAre(body, "error")) return "not OpenAI's envelope";
  const { error } = body;
  if (!keysAre(error, "message", "type", "param", "code")) return "not OpenAI's four keys";
  const { message, type, param, code } = error;
  if (type !== "invalid_request_error") return `type ${String(type)}`;
  if (param !== null && typeof param !== "string") return "param is no string";
  if (code !== null && typeof code !== "string") return "code is no string";
  if (OPENAI_CODES[status]?.includes(code) !== true) return `code ${code} with ${status}`;
  return messageProblem(message) ?? paramProblem(param, expected);
}

function anthropicProblem(body: unknown, answer: Answer, expected: Expected): string | null {
  if (!keysAre(body, "type", "error", "request_id") || body["type"] !== "error") return "not Anthropic's envelope";
  if (body["request_id"] !== answer.headers.get("request-id")) return "request_id is not the header's";
  const { error } = body;
  if (!keysAre(error, "type", "message")) return "not Anthropic's two keys";
  const { type, message } = error;
  if (type !== ANTHROPIC_TYPES[answer.status]) return `type ${String(type)} with ${answer.status}`;
  const problem = messageProblem(message);
  if (problem !== null || typeof message !== "string") return problem;
  // The model's name is in words.
  if (answer.status === 404) return null;
  return paramProblem(/^(?:prompt is too long.* )?`([^`]*)`/.exec(message)?.[1] ?? null, expected);
}

function goodProblem({ endpoint: { path } }: FuzzCase, { headers, text }: Answer): string | null {
  const type = headers.get("content-type") ?? "";
  if (type.startsWith("text/event-stream")) {
    if (/^event: (?:error|response\.failed)$|^data: \{"error"/m.test(text)) return "an error in the stream";
    return LAST_EVENT[path]?.test(text) === true ? null : "a stream without its end";
  }
  if (!type.startsWith("application/json")) return `content-type ${type}`;
  const body = JSON.parse(text) as Record<string, unknown>;
  return OBJECTS[path]?.(body) === true ? null : "not the API's object";
}

export function problemOf(fuzzCase: FuzzCase, answer: Answer): string | null {
  const { status, headers, text } = answer;
  const { endpoint, expected } = fuzzCase;
  if (status !== 200 && (status < 400 || status >= 500)) return `status ${status}`;
  const id = headers.get("x-request-id") ?? "";
  if (!/^req_\w+$/.test(id)) return "no x-request-id";
  if (headers.get("request-id") !== id) return "request-id is not x-request-id";
  if (expected.statuses.length > 0 && !expected.statuses.includes(status))
    return `status ${status} instead of ${expected.statuses.join("/")}`;
  try {
    if (status === 200) return goodProblem(fuzzCase, answer);
    const body: unknown = JSON.parse(text);
    return endpoint.envelope === "openai" ? openaiProblem(body, status, expected) : anthropicProblem(body, answer, expected);
  } catch (error) {
    return `no JSON: ${String(error)}`;
  }
}
