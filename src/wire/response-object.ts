/** OpenAI's response object: what /v1/responses gives, streams and keeps. */
import type { ApiError } from "../errors.ts";
import { type AnswerHead, type AnswerUsage, type FinishReason, type TokenLogprob, idTail } from "./answer-event.ts";
import type { InnerRequest } from "./inner.ts";
import { splitToolName } from "./responses-tools.ts";
import type { AnswerPart, WholeAnswer } from "./whole-answer.ts";

type ItemStatus = "in_progress" | "completed" | "incomplete";

interface ResponseLogprob {
  token: string;
  bytes: number[];
  logprob: number;
  top_logprobs: { token: string; bytes: number[]; logprob: number }[];
}

type ContentPart =
  | { type: "output_text"; text: string; annotations: never[]; logprobs: ResponseLogprob[] }
  | { type: "reasoning_text"; text: string };

type OutputItem =
  | {
      id: string;
      type: "message";
      role: "assistant";
      status: ItemStatus;
      content: Extract<ContentPart, { type: "output_text" }>[];
    }
  | { id: string; type: "reasoning"; status: ItemStatus; summary: never[]; content: Extract<ContentPart, { type: "reasoning_text" }>[] }
  | { id: string; type: "function_call"; status: ItemStatus; call_id: string; name: string; namespace?: string; arguments: string };

type ResponseStatus = "in_progress" | "completed" | "incomplete" | "failed";

interface ResponseUsage {
  input_tokens: number;
  input_tokens_details: { cached_tokens: number; cache_write_tokens: number };
  output_tokens: number;
  output_tokens_details: { reasoning_tokens: number };
  total_tokens: number;
}

/** More fields are there: what the caller wrote (tools, text, reasoning …), as it wrote it. `output_text` is the client's to add. */
export interface ResponseObject {
  id: string;
  object: "response";
  created_at: number;
  /** Seconds since 1970; null unless it is completed. */
  completed_at: number | null;
  status: ResponseStatus;
  error: { code: "server_error"; message: string } | null;
  incomplete_details: { reason: "max_output_tokens" } | null;
  instructions: string | null;
  metadata: Readonly<Record<string, string>>;
  model: string;
  output: OutputItem[];
  parallel_tool_calls: boolean;
  previous_response_id: string | null;
  store: boolean;
  temperature: number | null;
  top_p: number | null;
  /** Once it is known: null, which the vendor sends, is not in its document. */
  usage?: ResponseUsage;
}

/** The whole of the request's id: a stored response is found by it (docs/decisions/0005-response-ids-carry-a-tag.md). */
export const responseId = ({ requestId }: AnswerHead): string =>
  `resp_${requestId.startsWith("req_") ? requestId.slice("req_".length) : requestId}`;

export function responseLogprobs(tokens: readonly TokenLogprob[] | null): ResponseLogprob[] {
  const one = (token: { token: string; bytes: readonly number[]; logprob: number }) => ({
    token: token.token,
    bytes: [...token.bytes],
    logprob: token.logprob,
  });
  return (tokens ?? []).map((token) => ({ ...one(token), top_logprobs: token.top.map(one) }));
}

const PREFIX = { text: "msg", reasoning: "rs", call: "fc" } as const;

export function itemId(head: AnswerHead, type: AnswerPart["type"], outputIndex: number): string {
  return `${PREFIX[type]}_${idTail(head)}_${outputIndex}`;
}

export function contentPartOf(part: Exclude<AnswerPart, { type: "call" }>): ContentPart {
  return part.type === "reasoning"
    ? { type: "reasoning_text", text: part.text }
    : { type: "output_text", text: part.text, annotations: [], logprobs: responseLogprobs(part.logprobs) };
}

/** A tool as the caller named it, which is not how the model calls it when it is in a namespace. */
export function calledAs(request: InnerRequest, called: string): { name: string; namespace?: string } {
  const { name, namespace } = splitToolName(request.responses?.echoed["tools"], called);
  return namespace === null ? { name } : { name, namespace };
}

export function outputItem(head: AnswerHead, request: InnerRequest, part: AnswerPart, outputIndex: number, status: ItemStatus): OutputItem {
  const id = itemId(head, part.type, outputIndex);
  switch (part.type) {
    case "call":
      return { id, type: "function_call", status, call_id: part.id, ...calledAs(request, part.name), arguments: part.arguments };
    case "reasoning":
      return { id, type: "reasoning", status, summary: [], content: [{ type: "reasoning_text", text: part.text }] };
    case "text": {
      const content = { type: "output_text" as const, text: part.text, annotations: [], logprobs: responseLogprobs(part.logprobs) };
      return { id, type: "message", role: "assistant", status, content: [content] };
    }
  }
}

/** An answer of nothing still is a message. */
function outputOf(head: AnswerHead, request: InnerRequest, answer: WholeAnswer): OutputItem[] {
  const { parts, reason } = answer.choice(0);
  const shown: readonly AnswerPart[] = parts.length > 0 || reason === null ? parts : [{ type: "text", text: "", logprobs: null }];
  const cut = reason === "length" || reason === null;
  return shown.map((part, index) => outputItem(head, request, part, index, cut && index === shown.length - 1 ? "incomplete" : "completed"));
}

const statusOf = (reason: FinishReason | null): ResponseStatus => (reason === "length" ? "incomplete" : "completed");

function usageOf(usage: AnswerUsage): ResponseUsage {
  return {
    input_tokens: usage.promptTokens,
    input_tokens_details: { cached_tokens: usage.cachedTokens, cache_write_tokens: 0 },
    output_tokens: usage.outputTokens,
    output_tokens_details: { reasoning_tokens: usage.reasoningTokens },
    total_tokens: usage.promptTokens + usage.outputTokens,
  };
}

function toolChoiceOf(request: InnerRequest): unknown {
  const choice = request.toolChoice ?? "auto";
  return typeof choice === "string" ? choice : { type: "function", name: choice.name };
}

/** Without what the answer brings. */
function bareResponse(
  head: AnswerHead,
  request: InnerRequest,
): Omit<ResponseObject, "status" | "completed_at" | "error" | "incomplete_details" | "output" | "usage"> {
  const { responses } = request;
  const defaults = {
    background: false,
    max_output_tokens: request.maxTokens,
    max_tool_calls: null,
    presence_penalty: request.presencePenalty,
    frequency_penalty: request.frequencyPenalty,
    safety_identifier: null,
    prompt_cache_key: null,
    reasoning: { effort: request.reasoningEffort, summary: null },
    service_tier: "default",
    text: { format: { type: "text" } },
    tool_choice: toolChoiceOf(request),
    tools: [],
    top_logprobs: request.logprobs ?? 0,
    truncation: "disabled",
    access_programs: null,
  };
  return {
    ...defaults,
    ...responses?.echoed,
    id: responseId(head),
    object: "response",
    created_at: head.createdS,
    instructions: responses?.instructions ?? null,
    metadata: responses?.metadata ?? {},
    model: head.model,
    parallel_tool_calls: request.parallelToolCalls,
    previous_response_id: responses?.previousResponseId ?? null,
    store: responses?.store ?? false,
    temperature: request.temperature ?? 1,
    top_p: request.topP ?? 1,
  };
}

export function startedResponse(head: AnswerHead, request: InnerRequest): ResponseObject {
  return { ...bareResponse(head, request), status: "in_progress", completed_at: null, error: null, incomplete_details: null, output: [] };
}

/** `error`: it could not be finished. */
export function responseObject(
  head: AnswerHead,
  request: InnerRequest,
  answer: WholeAnswer,
  error: ApiError | null = null,
): ResponseObject {
  const status = error === null ? statusOf(answer.choice(0).reason) : "failed";
  return {
    ...bareResponse(head, request),
    status,
    completed_at: status === "completed" ? answer.endedAtS : null,
    error: error === null ? null : { code: "server_error", message: error.message },
    incomplete_details: status === "incomplete" ? { reason: "max_output_tokens" } : null,
    output: outputOf(head, request, answer),
    ...(error === null ? { usage: usageOf(answer.usage) } : {}),
  };
}
