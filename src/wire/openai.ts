/** OpenAI's chat completions API: the request, and the envelope of errors. Answers are in chat-answer.ts. */
import { z } from "zod";
import type { ApiError, ErrorCode } from "../errors.ts";
import type { ChatMessage, ChatPrompt, Tool } from "../prefix/prompt.ts";
import { check, parsing, Refused, refuse } from "./check.ts";
import { cleanMessages } from "./hygiene.ts";
import type { ParsedRequest } from "./inner.ts";
import { messagesProblem, toolsProblem } from "./openai-messages.ts";
import { type HeaderReader, NO_HEADERS, sessionOf } from "./session.ts";
import {
  allowedToolNames,
  effort,
  flag,
  parseFormat,
  parseToolChoice,
  plainRequest,
  samplingFields,
  samplingOf,
  tokenLimit,
  topLogprobs,
  unsupported,
} from "./settings.ts";

export interface ParseOptions {
  /** The engine takes images, sound and files; else they are refused. */
  media?: boolean;
}

/** Everything but `messages`, `tools`, `tool_choice` and `response_format`; unknown fields are left alone. */
const settings = z.object({
  ...samplingFields,
  max_completion_tokens: tokenLimit,
  logprobs: flag,
  top_logprobs: topLogprobs,
  parallel_tool_calls: flag,
  reasoning_effort: effort,
  modalities: z.array(z.literal("text", "must be 'text'; this model writes text only"), "must be an array").nullish(),
  audio: unsupported("is not supported; this model writes text only"),
  web_search_options: unsupported("is not supported; search with a function of yours in `tools`"),
  functions: unsupported("is deprecated and not supported; use `tools`"),
  function_call: unsupported("is deprecated and not supported; use `tool_choice`"),
});

/** A parsed JSON body → an inner request, or the first thing wrong with it. */
export function parseChatRequest(body: unknown, headers: HeaderReader = NO_HEADERS, options: ParseOptions = {}): ParsedRequest {
  return parsing(body, settings, (fields, object) => {
    const { messages, tools } = object;
    check(messagesProblem(messages, options.media ?? false) ?? toolsProblem(tools));
    // Checked just above, field by field, and not copied: this is where `unknown` becomes typed.
    const prompt: ChatPrompt = { messages: cleanMessages(messages as ChatMessage[]), tools: (tools ?? []) as Tool[] };
    return {
      ...plainRequest("chat", fields.model, prompt, sessionOf(object, headers)),
      ...samplingOf(fields, object),
      toolChoice: parseToolChoice(object["tool_choice"], prompt.tools, true),
      allowedTools: allowedToolNames(object["tool_choice"], prompt.tools, true),
      schemaPaths: new Map(prompt.tools.map((tool, index) => [tool.function.name, `tools[${index}].function.parameters`])),
      parallelToolCalls: fields.parallel_tool_calls ?? true,
      responseFormat: parseFormat(object["response_format"], "response_format", true),
      reasoningEffort: fields.reasoning_effort ?? null,
      maxTokens: fields.max_completion_tokens ?? fields.max_tokens ?? null,
      logprobs: logprobsOf(fields.logprobs ?? false, fields.top_logprobs ?? 0),
    };
  });
}

function logprobsOf(wanted: boolean, top: number): number | null {
  if (!wanted && top > 0) throw new Refused(refuse("top_logprobs", "needs `logprobs: true`."));
  return wanted ? top : null;
}

/** OpenAI's own `type` and `code` where it has one. Clients match on `code`. */
const ENVELOPE: Record<ErrorCode, { type: "invalid_request_error" | "server_error"; code: string | null }> = {
  invalid_request: { type: "invalid_request_error", code: null },
  invalid_api_key: { type: "invalid_request_error", code: "invalid_api_key" },
  invalid_join_token: { type: "invalid_request_error", code: "invalid_join_token" },
  forbidden: { type: "invalid_request_error", code: "forbidden" },
  request_timeout: { type: "invalid_request_error", code: "request_timeout" },
  model_not_found: { type: "invalid_request_error", code: "model_not_found" },
  not_found: { type: "invalid_request_error", code: null },
  previous_response_not_found: { type: "invalid_request_error", code: "previous_response_not_found" },
  method_not_allowed: { type: "invalid_request_error", code: "method_not_supported" },
  request_too_large: { type: "invalid_request_error", code: "request_too_large" },
  unsupported_media_type: { type: "invalid_request_error", code: "unsupported_media_type" },
  context_length_exceeded: { type: "invalid_request_error", code: "context_length_exceeded" },
  overloaded: { type: "server_error", code: "overloaded" },
  storage_full: { type: "server_error", code: "storage_full" },
  replica_lost: { type: "server_error", code: "replica_lost" },
  invalid_admission: { type: "invalid_request_error", code: "invalid_admission" },
  epoch_replaced: { type: "invalid_request_error", code: "epoch_replaced" },
  internal: { type: "server_error", code: null },
};

export interface OpenaiErrorBody {
  error: { message: string; type: string; param: string | null; code: string | null };
}

export function openaiErrorBody(error: ApiError): OpenaiErrorBody {
  const { type, code } = ENVELOPE[error.code];
  return { error: { message: error.message, type, param: error.param, code } };
}
