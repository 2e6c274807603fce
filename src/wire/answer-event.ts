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
  | { type: "usage"; usage: AnswerUsage };

export interface AnswerHead {
  /** The edge's request id, from which each API makes its own ids. */
  requestId: string;
  createdS: number;
  model: string;
}

/** `req_abc` → `abc`. */
export function idTail(head: AnswerHead): string {
  return head.requestId.startsWith("req_") ? head.requestId.slice("req_".length) : head.requestId;
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
