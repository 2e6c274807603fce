/** One request and its answer in the terms of /v1/completions. */
import { z } from "zod";
import type { EngineRequest, TokenLogprob } from "../engine.ts";
import type { ServerKind } from "./discovery.ts";

interface Asked {
  request: EngineRequest;
  /** As the server gets the prompt. */
  prompt: string | readonly number[];
  model: string;
  kind: ServerKind;
  /** At least 1; what fits. */
  maxTokens: number;
}

/**
 * The whole body. It is built here from the contract's own fields, so that nothing of a client's body reaches the server: neither
 * kv_transfer_params, ec_transfer_params and vllm_xargs, of which some end a vLLM's process, nor priority and cache_salt.
 *
 * Stop strings are not sent: servers take four at most and do not say which one ended an answer.
 */
export function completionBody({ request, prompt, model, kind, maxTokens }: Asked): Record<string, unknown> {
  const { temperature, topP, seed, presencePenalty, frequencyPenalty, logitBias, logprobs, salt } = request;
  return {
    model,
    prompt,
    max_tokens: maxTokens,
    temperature,
    top_p: topP,
    seed,
    ...(presencePenalty === 0 ? {} : { presence_penalty: presencePenalty }),
    ...(frequencyPenalty === 0 ? {} : { frequency_penalty: frequencyPenalty }),
    ...(logitBias.size === 0 ? {} : { logit_bias: Object.fromEntries(logitBias) }),
    ...(logprobs === null ? {} : { logprobs }),
    stream: true,
    stream_options: { include_usage: true, ...(kind === "vllm" ? { continuous_usage_stats: true } : {}) },
    ...grammarFields(request, kind),
    // The tenant's own, by which vLLM keeps tenants' prefixes apart.
    ...(kind === "vllm" && salt !== "" ? { cache_salt: salt } : {}),
  };
}

/** Null: this server does not enforce the grammar, or it is unknown whether it does. */
export function grammarProblem({ grammar }: Pick<EngineRequest, "grammar">, kind: ServerKind): string | null {
  if (grammar === null) return null;
  if (kind === "other") return "the server of this engine is not known to hold an answer to a schema";
  return grammar.type === "tool_calls" ? "the server of this engine can't be made to call a tool" : null;
}

function grammarFields({ grammar }: EngineRequest, kind: ServerKind): Record<string, unknown> {
  if (grammar === null || grammar.type === "tool_calls") return {};
  const schema = grammar.type === "json_schema" ? grammar.schema : { type: "object" };
  if (kind === "llama-cpp") return { json_schema: schema };
  if (grammar.type === "json_object") return { response_format: { type: "json_object" } };
  return { response_format: { type: "json_schema", json_schema: { name: "answer", schema, strict: grammar.strict } } };
}

const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

const Usage = z.object({
  prompt_tokens: count,
  completion_tokens: count.nullish(),
  prompt_tokens_details: z.object({ cached_tokens: count.nullish() }).nullish(),
});

const Logprobs = z.object({
  tokens: z.array(z.string()),
  token_logprobs: z.array(z.number().nullable()),
  top_logprobs: z.array(z.record(z.string(), z.number()).nullable()).nullish(),
});

const Chunk = z.object({
  choices: z
    .array(z.object({ text: z.string().nullish(), finish_reason: z.string().nullish(), logprobs: Logprobs.nullish().catch(null) }))
    .default([]),
  usage: Usage.nullish().catch(null),
  error: z.unknown().optional(),
});

export interface ServerUsage {
  promptTokens: number;
  outputTokens: number | null;
  /** Null: the server does not say. */
  cachedTokens: number | null;
}

export type CompletionEvent =
  /** `finishReason`: the server's own word, at the end. */
  | { type: "chunk"; text: string; finishReason: string | null; logprobs: TokenLogprob[] | null; usage: ServerUsage | null }
  | { type: "done" }
  /** The server reports an error in the middle of its answer, or sends what makes no sense. */
  | { type: "error" };

/** @param data of one server-sent event. */
export function readCompletion(data: string): CompletionEvent {
  if (data === "[DONE]") return { type: "done" };
  const chunk = Chunk.safeParse(parsed(data));
  if (!chunk.success || (chunk.data.error !== undefined && chunk.data.error !== null)) return { type: "error" };
  const { choices, usage } = chunk.data;
  const [choice] = choices;
  return {
    type: "chunk",
    text: (choice?.text ?? "").toWellFormed(),
    finishReason: choice?.finish_reason ?? null,
    logprobs: choice?.logprobs == null ? null : logprobsOf(choice.logprobs),
    usage:
      usage == null
        ? null
        : {
            promptTokens: usage.prompt_tokens,
            outputTokens: usage.completion_tokens ?? null,
            cachedTokens: usage.prompt_tokens_details?.cached_tokens ?? null,
          },
  };
}

function parsed(data: string): unknown {
  try {
    return JSON.parse(data) as unknown;
  } catch {
    return null;
  }
}

function logprobsOf({ tokens, token_logprobs: values, top_logprobs: tops }: z.infer<typeof Logprobs>): TokenLogprob[] {
  return tokens.map((token, index) => ({
    ...named(token, values[index] ?? 0),
    top: Object.entries(tops?.[index] ?? {}).map(([other, logprob]) => named(other, logprob)),
  }));
}

function named(token: string, logprob: number): { token: string; bytes: readonly number[]; logprob: number } {
  return { token, bytes: [...Buffer.from(token)], logprob };
}
