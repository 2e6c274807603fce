/** An inner request as the engine's own. */
import { API_FACTS } from "../src/wire/api-table.ts";
import { type ApiError, apiError } from "../src/errors.ts";
import type { Tool } from "../src/prefix/prompt.ts";
import { refuse } from "../src/wire/check.ts";
import { contextLengthError } from "../src/wire/context-length.ts";
import type { InnerRequest } from "../src/wire/inner.ts";
import type { EngineRefusal, EngineRequest } from "./engine/engine.ts";
import type { FormatGrammar, Grammar, GrammarPlace } from "./engine/grammar.ts";
import { CALL_CLOSE } from "./tool-call-parser.ts";

/** OpenAI's own default for text completions. */
const COMPLETION_TOKENS = 16;

function toolsOf(request: InnerRequest): readonly Tool[] {
  return "messages" in request.prompt ? [...request.prompt.tools, ...request.laterTools] : [];
}

/** Tools the answer may call. */
export function callableTools(request: InnerRequest): readonly Tool[] {
  const { toolChoice, allowedTools } = request;
  if (toolChoice === "none") return [];
  const tools = toolsOf(request).filter((tool) => allowedTools?.includes(tool.function.name) !== false);
  return typeof toolChoice === "object" && toolChoice !== null ? tools.filter((tool) => tool.function.name === toolChoice.name) : tools;
}

/** Calls where they are forced; beside a format, calls or text of the format; else the format; null = free text, calls or not. */
export function grammarOf(request: InnerRequest): Grammar | null {
  const { toolChoice } = request;
  const isNamed = typeof toolChoice === "object" && toolChoice !== null;
  const forced = toolChoice === "required" || isNamed;
  const format = formatOf(request);
  const callable = callableTools(request);
  if (!forced && (format === null || callable.length === 0)) return format;
  const tools = callable.map(({ function: { name, parameters, strict } }) => ({ name, parameters, strict: strict === true }));
  const parallel = request.parallelToolCalls && !isNamed;
  return { type: "tool_calls", tools, parallel, otherwise: forced ? null : format };
}

function formatOf({ responseFormat }: InnerRequest): FormatGrammar | null {
  if (responseFormat.type === "text") return null;
  if (responseFormat.type === "json_object") return { type: "json_object" };
  return { type: "json_schema", schema: responseFormat.schema, strict: responseFormat.strict };
}

/** Choice 0's; the others differ in `id` and `seed`. */
export function engineRequest(
  request: InnerRequest,
  given: { id: string; prompt: string; cuts?: readonly number[]; salt: string; contextTokens: number; grammar: Grammar | null },
): EngineRequest {
  const fallback = request.api === "completions" ? COMPLETION_TOKENS : given.contextTokens;
  // At most one call, and nothing holds free text to that: it ends where the first call does.
  const oneCall = given.grammar === null && !request.parallelToolCalls && callableTools(request).length > 0;
  return {
    id: given.id,
    prompt: given.prompt,
    cuts: given.cuts ?? [],
    ...("text" in request.prompt && request.prompt.tokens !== undefined ? { tokens: request.prompt.tokens } : {}),
    salt: given.salt,
    maxTokens: request.maxTokens ?? fallback,
    // The least share of the likeliest tokens is the likeliest one.
    temperature: request.topP === 0 ? 0 : (request.temperature ?? 1),
    topP: request.topP ?? 1,
    seed: foldedSeed(request.seed ?? Math.floor(Math.random() * 2 ** 31)),
    stop: oneCall ? [...request.stop, CALL_CLOSE] : request.stop,
    presencePenalty: request.presencePenalty,
    frequencyPenalty: request.frequencyPenalty,
    logitBias: request.logitBias,
    logprobs: request.logprobs,
    grammar: given.grammar,
  };
}

/** The engine's seeds have 32 bits: of longer ones, and of negative ones, both halves count. */
function foldedSeed(seed: number): number {
  const high = Math.floor(seed / 2 ** 32);
  return (seed ^ Math.imul(high, 0x9e37_79b1)) >>> 0;
}

export function choiceRequest(first: EngineRequest, choice: number): EngineRequest {
  return choice === 0 ? first : { ...first, id: `${first.id}/${choice}`, seed: (first.seed + choice * 0x9e37_79b1) % 2 ** 31 };
}

export function refusalError(request: InnerRequest, refusal: EngineRefusal, grammar: Grammar | null): ApiError {
  if (refusal.reason === "unknown_token") {
    const param = `prompt[${refusal.index}]`;
    return refuse(param, `is no token of this model: ${refusal.message}.`);
  }
  if (refusal.reason === "context_length_exceeded") return contextLengthError(request, refusal);
  if (refusal.reason === "grammar") {
    const param = grammarParam(request, refusal.place, grammar);
    // Anthropic's errors have no field for it.
    return refuse(param, `can't be followed: ${refusal.message}.`);
  }
  return { ...apiError("overloaded", refusal.message), retryAfterSeconds: 1 };
}

/** The caller's own path to the schema, and on to the place inside it. */
function grammarParam(request: InnerRequest, place: GrammarPlace | null, grammar: Grammar | null): string {
  const formatParam = request.formatPath ?? API_FACTS[request.api].formatParam;
  if (place === null) return grammar?.type === "tool_calls" ? "tools" : formatParam;
  const name = place.tool === null || grammar?.type !== "tool_calls" ? null : grammar.tools[place.tool]?.name;
  const schema = name === null ? formatParam : (request.schemaPaths.get(name ?? "") ?? "tools");
  return schema + pathOf(place.pointer);
}

const LISTS: ReadonlySet<string> = new Set(["anyOf", "oneOf", "allOf", "prefixItems", "enum", "required", "type"]);
const MAX_NAMES = 16;

/** `#/properties/a/anyOf/0` → `.properties.a.anyOf[0]`. */
function pathOf(pointer: string): string {
  const names = pointer.split("/").slice(1, 1 + MAX_NAMES);
  return names
    .map((name, index) => {
      if (LISTS.has(names[index - 1] ?? "") && /^\d+$/.test(name)) return `[${name}]`;
      return `.${name.replaceAll("~1", "/").replaceAll("~0", "~").slice(0, 64)}`;
    })
    .join("");
}
