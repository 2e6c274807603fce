/** OpenAI's chat completions API: the request, and the envelope of errors. Answers are in openai-answer.ts. */
import { z } from "zod";
import type { ApiError, ErrorCode } from "../errors.ts";
import { apiError } from "../errors.ts";
import type { ChatMessage, ChatPrompt, Tool } from "../prefix/prompt.ts";
import { formatPath, nestingProblem } from "./json-body.ts";
import { isObject, kindOf, messagesProblem, refuse, toolsProblem } from "./openai-messages.ts";

export { decodeJsonBody } from "./json-body.ts";

export type ToolChoice = "none" | "auto" | "required" | { name: string };

/** A valid request. null = the caller left it to us. */
export interface ChatRequest {
  model: string;
  /** The caller's own objects, uncopied. */
  prompt: ChatPrompt;
  toolChoice: ToolChoice | null;
  stream: boolean;
  /** Only with `stream`: a last chunk carries the usage. */
  includeUsage: boolean;
  /** `max_completion_tokens`, else `max_tokens`. */
  maxTokens: number | null;
  temperature: number | null;
  topP: number | null;
  seed: number | null;
  /** At most 4. */
  stop: readonly string[];
}

export type ParsedChatRequest = { ok: true; request: ChatRequest } | { ok: false; error: ApiError };

const tokenLimit = z.int("must be an integer of at least 1").min(1, "must be at least 1").nullish();
const stopText = z.string("must be a string or an array of up to 4 strings").min(1, "must not be an empty string");

/** Everything but `messages`, `tools` and `tool_choice`; unknown fields are left alone. */
const settings = z.object({
  model: z.string("must be a string, the name of a model").min(1, "must not be empty; name a model"),
  stream: z.boolean("must be true or false").nullish(),
  stream_options: z.object({ include_usage: z.boolean("must be true or false").nullish() }, "must be an object").nullish(),
  max_tokens: tokenLimit,
  max_completion_tokens: tokenLimit,
  temperature: z.number("must be a number from 0 to 2").min(0, "must be at least 0").max(2, "must be at most 2").nullish(),
  top_p: z.number("must be a number above 0 and at most 1").gt(0, "must be above 0").max(1, "must be at most 1").nullish(),
  seed: z.int("must be an integer").nullish(),
  stop: z
    .union([stopText, z.array(stopText).max(4, "must have at most 4 strings")], "must be a string or an array of up to 4 non-empty strings")
    .nullish(),
  n: z.literal(1, "must be 1; send the request again for more choices").nullish(),
  functions: z.null("is deprecated and not supported; use `tools`").optional(),
});
type Settings = z.infer<typeof settings>;

/** A parsed JSON body → a chat request, or the first thing wrong with it. */
export function parseChatRequest(body: unknown): ParsedChatRequest {
  if (!isObject(body)) {
    return { ok: false, error: apiError("invalid_request", `The request body must be a JSON object, but is ${kindOf(body)}.`) };
  }
  const parsed = settings.safeParse(body);
  if (!parsed.success) return { ok: false, error: settingsError(parsed.error.issues[0], body) };
  const error = nestingProblem(body) ?? messagesProblem(body["messages"]) ?? toolsProblem(body["tools"]);
  if (error) return { ok: false, error };
  // Checked just above, field by field, and not copied: this is where `unknown` becomes typed.
  const prompt: ChatPrompt = { messages: body["messages"] as ChatMessage[], tools: (body["tools"] ?? []) as Tool[] };
  const toolChoice = parseToolChoice(body["tool_choice"], prompt.tools);
  return "error" in toolChoice
    ? { ok: false, error: toolChoice.error }
    : { ok: true, request: toRequest(parsed.data, prompt, toolChoice.choice) };
}

function toRequest(fields: Settings, prompt: ChatPrompt, toolChoice: ToolChoice | null): ChatRequest {
  const stream = fields.stream ?? false;
  return {
    model: fields.model,
    prompt,
    toolChoice,
    stream,
    includeUsage: stream && (fields.stream_options?.include_usage ?? false),
    maxTokens: fields.max_completion_tokens ?? fields.max_tokens ?? null,
    temperature: fields.temperature ?? null,
    topP: fields.top_p ?? null,
    seed: fields.seed ?? null,
    stop: typeof fields.stop === "string" ? [fields.stop] : (fields.stop ?? []),
  };
}

function settingsError(issue: z.core.$ZodIssue | undefined, body: unknown): ApiError {
  if (issue === undefined) return apiError("invalid_request", "The request body is not a valid chat request.");
  const param = formatPath(issue.path);
  let value = body;
  for (const key of issue.path) value = typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
  const isType = issue.code === "invalid_type" || issue.code === "invalid_union";
  return refuse(param, isType ? `${issue.message}, but is ${kindOf(value)}.` : `${issue.message}.`);
}

function parseToolChoice(value: unknown, tools: readonly Tool[]): { choice: ToolChoice | null } | { error: ApiError } {
  if (value === undefined || value === null) return { choice: null };
  if (value === "none" || value === "auto") return { choice: value };
  if (value === "required") {
    return tools.length > 0 ? { choice: value } : { error: refuse("tool_choice", "is 'required', but no tools are given; add `tools`.") };
  }
  const fn = isObject(value) && value["type"] === "function" ? value["function"] : undefined;
  const name = isObject(fn) ? fn["name"] : undefined;
  if (typeof name !== "string") {
    return { error: refuse("tool_choice", "must be 'none', 'auto', 'required' or {type: 'function', function: {name}}.") };
  }
  if (tools.some((tool) => tool.function.name === name)) return { choice: { name } };
  return { error: refuse("tool_choice.function.name", "names a function that is not in `tools`; add the tool or change the name.") };
}

/** OpenAI's own `type` and `code` where it has one. Clients match on `code`. */
const ENVELOPE: Record<ErrorCode, { type: "invalid_request_error" | "server_error"; code: string | null }> = {
  invalid_request: { type: "invalid_request_error", code: null },
  invalid_api_key: { type: "invalid_request_error", code: "invalid_api_key" },
  model_not_found: { type: "invalid_request_error", code: "model_not_found" },
  not_found: { type: "invalid_request_error", code: null },
  method_not_allowed: { type: "invalid_request_error", code: "method_not_supported" },
  request_too_large: { type: "invalid_request_error", code: "request_too_large" },
  context_length_exceeded: { type: "invalid_request_error", code: "context_length_exceeded" },
  overloaded: { type: "server_error", code: "overloaded" },
  replica_lost: { type: "server_error", code: "replica_lost" },
  invalid_admission: { type: "invalid_request_error", code: "invalid_admission" },
  internal: { type: "server_error", code: null },
};

export interface OpenaiErrorBody {
  error: { message: string; type: string; param: string | null; code: string | null };
}

export function openaiErrorBody(error: ApiError): OpenaiErrorBody {
  const { type, code } = ENVELOPE[error.code];
  return { error: { message: error.message, type, param: error.param, code } };
}
