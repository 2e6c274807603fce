/** What an answer is made of, between the engine and the writers of each API. */
import type { ApiError } from "../errors.ts";

export interface TokenLogprob {
  token: string;
  /** UTF-8 of the token, which may be part of a character. */
  bytes: readonly number[];
  logprob: number;
  top: readonly { token: string; bytes: readonly number[]; logprob: number }[];
}

export interface AnswerUsage {
  /** Cached ones included. */
  promptTokens: number;
  cachedTokens: number;
  /** Of all choices, reasoning included. */
  outputTokens: number;
  reasoningTokens: number;
}

/** Of one choice. */
export type FinishReason = "stop" | "length" | "tool_calls";

/**
 * `choice` counts from 0. `started` comes once, first, and is no content. Per choice: reasoning, then text and tool calls, then finished.
 * `usage` comes once, last.
 */
export type AnswerEvent =
  | { type: "started"; promptTokens: number; cachedTokens: number }
  | { type: "reasoning"; choice: number; text: string }
  | { type: "text"; choice: number; text: string; logprobs: readonly TokenLogprob[] | null }
  /** A call begins; `index` counts the calls of this choice from 0. */
  | { type: "tool_call"; choice: number; index: number; id: string; name: string }
  | { type: "tool_arguments"; choice: number; index: number; text: string }
  /** `stopText`: the caller's stop string that ended it, when one did. */
  | { type: "finished"; choice: number; reason: FinishReason; stopText: string | null }
  /** `endedAtS`: seconds since 1970. */
  | { type: "usage"; usage: AnswerUsage; endedAtS?: number };

export interface AnswerHead {
  /** The edge's request id, from which each API makes its own ids. */
  requestId: string;
  createdS: number;
  model: string;
}

/** `req_<pool>_abc` → `abc`: what ids of an answer and its parts are made of. A pool's name, which may be a customer's, is nobody's business there. */
export function idTail({ requestId }: AnswerHead): string {
  return requestId.slice(requestId.lastIndexOf("_") + 1);
}

/** OpenAI's API takes ids of tool calls up to 40 characters, and conversations move between providers. */
const CALL_TAIL = 20;

/** `index`: of the call in its choice. At most 40 characters for every prefix of ours. */
export function callId(head: AnswerHead, prefix: "call" | "toolu", choice: number, index: number): string {
  return `${prefix}_${idTail(head).slice(0, CALL_TAIL)}_${choice}_${index}`;
}

/** Writes one streamed answer in an API's own events: whole SSE events as text, "" when an event needs none. */
export interface AnswerStream {
  /** Called after `started`, with the first event that has content, so that nothing before it counts as content. */
  open(): string;
  event(event: AnswerEvent): string;
  /** After `usage`. */
  close(): string;
  /** In place of `close`, when the answer can't be finished. */
  fail(error: ApiError): string;
}
