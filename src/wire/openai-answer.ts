/** OpenAI's chat completion and its chunks, as a replica writes them. `choices` is the last key of a chunk: what does not change comes first. */
import type { ToolCall } from "../prefix/prompt.ts";

export type FinishReason = "stop" | "length" | "tool_calls";

export interface UsageCounts {
  /** Cached ones included. */
  promptTokens: number;
  cachedTokens: number;
  completionTokens: number;
}

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  prompt_tokens_details: { cached_tokens: number };
}

/** No other details: Agents JS rejects entries that are no numbers. */
export function usageOf(counts: UsageCounts): Usage {
  return {
    prompt_tokens: counts.promptTokens,
    completion_tokens: counts.completionTokens,
    total_tokens: counts.promptTokens + counts.completionTokens,
    prompt_tokens_details: { cached_tokens: counts.cachedTokens },
  };
}

export interface AnswerHead {
  /** `chatcmpl-…` */
  id: string;
  createdS: number;
  model: string;
}

export interface ChatCompletion {
  id: string;
  object: "chat.completion";
  created: number;
  model: string;
  choices: readonly {
    index: 0;
    message: { role: "assistant"; content: string | null; refusal: null; tool_calls?: readonly ToolCall[] };
    logprobs: null;
    finish_reason: FinishReason;
  }[];
  usage: Usage;
}

export interface Answer {
  /** null only beside tool calls. */
  content: string | null;
  toolCalls: readonly ToolCall[];
  finishReason: FinishReason;
  usage: UsageCounts;
}

export function chatCompletion(head: AnswerHead, answer: Answer): ChatCompletion {
  const calls = answer.toolCalls.length > 0 ? { tool_calls: answer.toolCalls } : {};
  return {
    id: head.id,
    object: "chat.completion",
    created: head.createdS,
    model: head.model,
    choices: [
      {
        index: 0,
        message: { role: "assistant", content: answer.content, refusal: null, ...calls },
        logprobs: null,
        finish_reason: answer.finishReason,
      },
    ],
    usage: usageOf(answer.usage),
  };
}

/** A call's id and name come once, then only pieces of its arguments. */
export interface ToolCallDelta {
  index: number;
  id?: string;
  type?: "function";
  function: { name?: string; arguments: string };
}

export interface Delta {
  role?: "assistant";
  content?: string;
  tool_calls?: readonly ToolCallDelta[];
}

export interface ChatChunk {
  id: string;
  object: "chat.completion.chunk";
  created: number;
  model: string;
  /** Only if asked for: null in all chunks but the last. */
  usage?: Usage | null;
  choices: readonly { index: 0; delta: Delta; logprobs: null; finish_reason: FinishReason | null }[];
}

/** The chunks of one streamed answer: first, then text and toolCalls as they come, finish, and usage where it was asked for. */
export class ChatChunks {
  readonly #head: AnswerHead;
  readonly #includeUsage: boolean;

  constructor(head: AnswerHead, options: { includeUsage: boolean }) {
    this.#head = head;
    this.#includeUsage = options.includeUsage;
  }

  first(): ChatChunk {
    return this.#chunk({ role: "assistant", content: "" }, null);
  }

  text(content: string): ChatChunk {
    return this.#chunk({ content }, null);
  }

  toolCalls(calls: readonly ToolCallDelta[]): ChatChunk {
    return this.#chunk({ tool_calls: calls }, null);
  }

  finish(reason: FinishReason): ChatChunk {
    return this.#chunk({}, reason);
  }

  /** The last chunk, with no choices; null when the caller did not ask for usage. */
  usage(counts: UsageCounts): ChatChunk | null {
    return this.#includeUsage ? { ...this.#start(), usage: usageOf(counts), choices: [] } : null;
  }

  #chunk(delta: Delta, finishReason: FinishReason | null): ChatChunk {
    const usage = this.#includeUsage ? { usage: null } : {};
    return { ...this.#start(), ...usage, choices: [{ index: 0, delta, logprobs: null, finish_reason: finishReason }] };
  }

  #start(): Omit<ChatChunk, "usage" | "choices"> {
    return { id: this.#head.id, object: "chat.completion.chunk", created: this.#head.createdS, model: this.#head.model };
  }
}
