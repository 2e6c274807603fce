/** OpenAI's legacy text completion and its chunks. */
import type { ApiError } from "../errors.ts";
import { type AnswerEvent, type AnswerHead, type AnswerStream, type TokenLogprob, idTail } from "./answer-event.ts";
import { type Usage, usageOf } from "./chat-answer.ts";
import { errorBody } from "./envelope.ts";
import type { InnerRequest } from "./inner.ts";
import { logprobsOf, textOf, type WholeAnswer } from "./whole-answer.ts";

interface CompletionLogprobs {
  tokens: string[];
  token_logprobs: number[];
  top_logprobs: Record<string, number>[];
  /** In UTF-16 units from the start of the choice's text. */
  text_offset: number[];
}

interface CompletionChoice {
  index: number;
  text: string;
  logprobs: CompletionLogprobs | null;
  finish_reason: "stop" | "length";
}

export interface TextCompletion {
  id: string;
  object: "text_completion";
  created: number;
  model: string;
  choices: CompletionChoice[];
  usage: Usage;
}

/** `before`: where the first token begins. */
function legacyLogprobs(tokens: readonly TokenLogprob[], before: number): CompletionLogprobs {
  let at = before;
  return {
    tokens: tokens.map(({ token }) => token),
    token_logprobs: tokens.map(({ logprob }) => logprob),
    top_logprobs: tokens.map(({ top }) => Object.fromEntries(top.map(({ token, logprob }) => [token, logprob]))),
    text_offset: tokens.map(({ token }) => {
      const offset = at;
      at += token.length;
      return offset;
    }),
  };
}

export function textCompletion(head: AnswerHead, request: Pick<InnerRequest, "logprobs">, answer: WholeAnswer): TextCompletion {
  return {
    id: `cmpl-${idTail(head)}`,
    object: "text_completion",
    created: head.createdS,
    model: head.model,
    choices: answer.choices.map((choice, index) => ({
      index,
      text: textOf(choice, "text"),
      logprobs: request.logprobs === null ? null : legacyLogprobs(logprobsOf(choice), 0),
      finish_reason: choice.reason === "length" ? "length" : "stop",
    })),
    usage: usageOf(answer.usage),
  };
}

const sse = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`;

export class CompletionStream implements AnswerStream {
  readonly #head: AnswerHead;
  readonly #includeUsage: boolean;
  /** Text written so far, a choice. */
  readonly #written: number[] = [];

  constructor(head: AnswerHead, request: Pick<InnerRequest, "includeUsage">) {
    this.#head = head;
    this.#includeUsage = request.includeUsage;
  }

  open(): string {
    return "";
  }

  event(event: AnswerEvent): string {
    switch (event.type) {
      case "text": {
        const before = this.#written[event.choice] ?? 0;
        this.#written[event.choice] = before + event.text.length;
        const logprobs = event.logprobs === null ? null : legacyLogprobs(event.logprobs, before);
        return this.#chunk({ index: event.choice, text: event.text, logprobs, finish_reason: null });
      }
      case "finished": {
        const reason = event.reason === "length" ? "length" : "stop";
        return this.#chunk({ index: event.choice, text: "", logprobs: null, finish_reason: reason });
      }
      case "usage":
        return this.#includeUsage ? sse({ ...this.#start(), usage: usageOf(event.usage), choices: [] }) : "";
      default:
        return "";
    }
  }

  close(): string {
    return "data: [DONE]\n\n";
  }

  fail(error: ApiError): string {
    return sse(errorBody("completions", error, this.#head.requestId));
  }

  #chunk(choice: Omit<CompletionChoice, "finish_reason"> & { finish_reason: "stop" | "length" | null }): string {
    return sse({ ...this.#start(), ...(this.#includeUsage ? { usage: null } : {}), choices: [choice] });
  }

  #start(): Pick<TextCompletion, "id" | "object" | "created" | "model"> {
    const { createdS, model } = this.#head;
    return { id: `cmpl-${idTail(this.#head)}`, object: "text_completion", created: createdS, model };
  }
}
