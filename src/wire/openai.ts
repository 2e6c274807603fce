/** OpenAI's chat completions API: the request, and the envelope of errors. Answers are in chat-answer.ts. */
import { z } from "zod";
import { type ApiError, type ErrorCode, ERRORS } from "../errors.ts";
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

/** Where OpenAI's `code` is not ours. Clients match on it. */
const OPENAI_CODES: Partial<Record<ErrorCode, string | null>> = {
  invalid_request: null,
  not_found: null,
  method_not_allowed: "method_not_supported",
  budget_exceeded: "insufficient_quota",
  internal: null,
};
/** What whose fault it is does not say. */
const OPENAI_TYPES: Partial<Record<ErrorCode, string>> = {
  rate_limit_exceeded: "rate_limit_error",
  budget_exceeded: "insufficient_quota",
};

export interface OpenaiErrorBody {
  error: { message: string; type: string; param: string | null; code: string | null };
}

export function openaiErrorBody(error: ApiError): OpenaiErrorBody {
  const { code, message, param } = error;
  const type = OPENAI_TYPES[code] ?? (ERRORS[code].fault === "server" ? "server_error" : "invalid_request_error");
  const shown = OPENAI_CODES[code];
  return { error: { message, type, param, code: shown === undefined ? code : shown } };
}
