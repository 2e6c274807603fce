/** An inner request as the engine's own. */
import { type ApiError, apiError } from "../src/errors.ts";
import type { Tool } from "../src/prefix/prompt.ts";
import type { ApiName, InnerRequest } from "../src/wire/inner.ts";
import type { EngineRefusal, EngineRequest, Grammar } from "./engine/engine.ts";
import { CALL_CLOSE } from "./tool-call-parser.ts";

/** OpenAI's own default for text completions. */
const COMPLETION_TOKENS = 16;

export function toolsOf(request: InnerRequest): readonly Tool[] {
  return "messages" in request.prompt ? request.prompt.tools : [];
}

/** Tools the answer may call. */
export function callableTools(request: InnerRequest): readonly Tool[] {
  const { toolChoice } = request;
  if (toolChoice === "none") return [];
  const tools = toolsOf(request);
  return typeof toolChoice === "object" && toolChoice !== null ? tools.filter((tool) => tool.function.name === toolChoice.name) : tools;
}

/** `loose`: schemas only where the caller insists on them, for when the engine can't follow one. */
export function grammarOf(request: InnerRequest, loose = false): Grammar | null {
  const { toolChoice, responseFormat } = request;
  if (toolChoice === "required" || (typeof toolChoice === "object" && toolChoice !== null)) {
    const tools = callableTools(request).map(({ function: { name, parameters, strict } }) => ({
      name,
      parameters: (loose && strict !== true ? null : parameters) ?? { type: "object" },
    }));
    return { type: "tool_calls", tools, parallel: toolChoice === "required" && request.parallelToolCalls };
  }
  switch (responseFormat.type) {
    case "text":
      return null;
    case "json_object":
      return { type: "json_object" };
    case "json_schema":
      return loose && !responseFormat.strict ? { type: "json_object" } : { type: "json_schema", schema: responseFormat.schema };
  }
}

/** Choice 0's; the others differ in `id` and `seed`. */
export function engineRequest(
  request: InnerRequest,
  given: { id: string; prompt: string; salt: string; contextTokens: number; grammar: Grammar | null },
): EngineRequest {
  const fallback = request.api === "completions" ? COMPLETION_TOKENS : given.contextTokens;
  // At most one call, and nothing holds free text to that: it ends where the first call does.
  const oneCall = given.grammar === null && !request.parallelToolCalls && callableTools(request).length > 0;
  return {
    id: given.id,
    prompt: given.prompt,
    salt: given.salt,
    maxTokens: request.maxTokens ?? fallback,
    temperature: request.temperature ?? 1,
    topP: request.topP ?? 1,
    seed: request.seed ?? Math.floor(Math.random() * 2 ** 31),
    stop: oneCall ? [...request.stop, CALL_CLOSE] : request.stop,
    presencePenalty: request.presencePenalty,
    frequencyPenalty: request.frequencyPenalty,
    logitBias: request.logitBias,
    logprobs: request.logprobs,
    grammar: given.grammar,
  };
}

export function choiceRequest(first: EngineRequest, choice: number): EngineRequest {
  return choice === 0 ? first : { ...first, id: `${first.id}/${choice}`, seed: (first.seed + choice * 0x9e37_79b1) % 2 ** 31 };
}

const PROMPT_PARAM: Record<ApiName, string> = { chat: "messages", completions: "prompt", responses: "input", messages: "messages" };
const FORMAT_PARAM: Record<ApiName, string> = {
  chat: "response_format",
  completions: "response_format",
  responses: "text.format",
  messages: "output_config.format",
};

export function promptParam(request: InnerRequest): string {
  return PROMPT_PARAM[request.api];
}

/** Frameworks know an overflow by these words of the vendors, not by its code (LangChain, LiteLLM). */
function overflowMessage(
  request: InnerRequest,
  { promptTokens, contextTokens }: Extract<EngineRefusal, { reason: "context_length_exceeded" }>,
): string {
  if (request.api === "messages") return `prompt is too long: ${promptTokens} tokens > ${contextTokens - 1} maximum. Shorten \`messages\`.`;
  const limit = `This model's maximum context length is ${contextTokens} tokens`;
  return `${limit}. However, your prompt has ${promptTokens} tokens and an answer needs room too. Input tokens exceed the configured limit: send a shorter prompt.`;
}

export function refusalError(request: InnerRequest, refusal: EngineRefusal, grammar: Grammar | null): ApiError {
  if (refusal.reason === "context_length_exceeded")
    return apiError("context_length_exceeded", overflowMessage(request, refusal), promptParam(request));
  if (refusal.reason === "grammar") {
    const param = grammar?.type === "tool_calls" ? "tools" : FORMAT_PARAM[request.api];
    return apiError("invalid_request", refusal.message, param);
  }
  return { ...apiError("overloaded", refusal.message), retryAfterSeconds: 1 };
}
