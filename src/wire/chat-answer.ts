/**
 * OpenAI's chat completion and its chunks. `choices` is the last key of a chunk: what does not change comes first.
 * Reasoning is in `reasoning_content`, of the message as of the delta: OpenAI has no field for it, and this is the one most clients know.
 */
import type { ApiError } from "../errors.ts";
import type { ToolCall } from "../prefix/prompt.ts";
import {
  type AnswerEvent,
  type AnswerHead,
  type AnswerStream,
  type AnswerUsage,
  type FinishReason,
  type TokenLogprob,
  idTail,
} from "./answer-event.ts";
import { errorBody } from "./envelope.ts";
import type { InnerRequest } from "./inner.ts";
import { type AnswerChoice, callsOf, logprobsOf, textOf, type WholeAnswer } from "./whole-answer.ts";

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  prompt_tokens_details: { cached_tokens: number };
  completion_tokens_details?: { reasoning_tokens: number };
}

/** No other details: Agents JS rejects entries that are no numbers. */
export function usageOf(usage: AnswerUsage): Usage {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.outputTokens,
    total_tokens: usage.promptTokens + usage.outputTokens,
    prompt_tokens_details: { cached_tokens: usage.cachedTokens },
    ...(usage.reasoningTokens > 0 ? { completion_tokens_details: { reasoning_tokens: usage.reasoningTokens } } : {}),
  };
}

interface ChatLogprobs {
  content: { token: string; logprob: number; bytes: number[]; top_logprobs: { token: string; logprob: number; bytes: number[] }[] }[];
  refusal: null;
}

function chatLogprobs(tokens: readonly TokenLogprob[]): ChatLogprobs {
  const one = (token: { token: string; bytes: readonly number[]; logprob: number }) => ({
    token: token.token,
    logprob: token.logprob,
    bytes: [...token.bytes],
  });
  return { content: tokens.map((token) => ({ ...one(token), top_logprobs: token.top.map(one) })), refusal: null };
}

type WholeCall = Required<ToolCall>;

export interface ChatCompletion {
  id: string;
  object: "chat.completion";
  created: number;
  model: string;
  choices: {
    index: number;
    message: { role: "assistant"; content: string | null; reasoning_content?: string; refusal: null; tool_calls?: WholeCall[] };
    logprobs: ChatLogprobs | null;
    finish_reason: FinishReason;
  }[];
  usage: Usage;
}

/** What the prompt of the next turn has of this answer: no reasoning. `content` is null only beside tool calls. */
export function assistantMessage(choice: AnswerChoice): { role: "assistant"; content: string | null; tool_calls?: WholeCall[] } {
  const calls = callsOf(choice);
  const text = textOf(choice, "text");
  if (calls.length === 0) return { role: "assistant", content: text };
  const whole = calls.map((call): WholeCall => ({
    id: call.id,
    type: "function",
    function: { name: call.name, arguments: call.arguments },
  }));
  return { role: "assistant", content: text === "" ? null : text, tool_calls: whole };
}

export function chatCompletion(head: AnswerHead, request: Pick<InnerRequest, "logprobs">, answer: WholeAnswer): ChatCompletion {
  return {
    id: `chatcmpl-${idTail(head)}`,
    object: "chat.completion",
    created: head.createdS,
    model: head.model,
    choices: answer.choices.map((choice, index) => {
      const reasoning = textOf(choice, "reasoning");
      const { role, content, ...calls } = assistantMessage(choice);
      return {
        index,
        message: { role, content, ...(reasoning === "" ? {} : { reasoning_content: reasoning }), refusal: null, ...calls },
        logprobs: request.logprobs === null ? null : chatLogprobs(logprobsOf(choice)),
        finish_reason: choice.reason ?? "stop",
      };
    }),
    usage: usageOf(answer.usage),
  };
}

/** A call's id and name come once, then only pieces of its arguments. */
interface ToolCallDelta {
  index: number;
  id?: string;
  type?: "function";
  function: { name?: string; arguments: string };
}

interface Delta {
  role?: "assistant";
  content?: string;
  reasoning_content?: string;
  tool_calls?: ToolCallDelta[];
}

export interface ChatChunk {
  id: string;
  object: "chat.completion.chunk";
  created: number;
  model: string;
  /** Only if asked for: null in all chunks but the last. */
  usage?: Usage | null;
  choices: { index: number; delta: Delta; logprobs: ChatLogprobs | null; finish_reason: FinishReason | null }[];
}

const sse = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`;

export class ChatStream implements AnswerStream {
  readonly #head: AnswerHead;
  readonly #request: Pick<InnerRequest, "includeUsage" | "n">;

  constructor(head: AnswerHead, request: Pick<InnerRequest, "includeUsage" | "n">) {
    this.#head = head;
    this.#request = request;
  }

  open(): string {
    let text = "";
    for (let choice = 0; choice < this.#request.n; choice += 1) text += this.#chunk(choice, { role: "assistant", content: "" });
    return text;
  }

  event(event: AnswerEvent): string {
    switch (event.type) {
      case "started":
        return "";
      case "reasoning":
        return this.#chunk(event.choice, { reasoning_content: event.text });
      case "text":
        return this.#chunk(event.choice, { content: event.text }, event.logprobs);
      case "tool_call": {
        const { choice, index, id, name } = event;
        return this.#chunk(choice, { tool_calls: [{ index, id, type: "function", function: { name, arguments: "" } }] });
      }
      case "tool_arguments":
        return this.#chunk(event.choice, { tool_calls: [{ index: event.index, function: { arguments: event.text } }] });
      case "finished":
        return this.#chunk(event.choice, {}, null, event.reason);
      case "usage":
        return this.#request.includeUsage ? sse({ ...this.#start(), usage: usageOf(event.usage), choices: [] } satisfies ChatChunk) : "";
    }
  }

  close(): string {
    return "data: [DONE]\n\n";
  }

  fail(error: ApiError): string {
    return sse(errorBody("chat", error, this.#head.requestId));
  }

  #chunk(index: number, delta: Delta, logprobs: readonly TokenLogprob[] | null = null, finishReason: FinishReason | null = null): string {
    const usage = this.#request.includeUsage ? { usage: null } : {};
    const chunk: ChatChunk = {
      ...this.#start(),
      ...usage,
      choices: [{ index, delta, logprobs: logprobs === null ? null : chatLogprobs(logprobs), finish_reason: finishReason }],
    };
    return sse(chunk);
  }

  #start(): Omit<ChatChunk, "usage" | "choices"> {
    const { createdS, model } = this.#head;
    return { id: `chatcmpl-${idTail(this.#head)}`, object: "chat.completion.chunk", created: createdS, model };
  }
}
