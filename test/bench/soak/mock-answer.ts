/** A mock replica's answer in OpenAI's shape, streamed or whole. */
import type { ServerResponse } from "node:http";
import type { AnswerEvent, AnswerUsage } from "../../../src/wire/answer-event.ts";
import { chatCompletion, ChatStream } from "../../../src/wire/chat-answer.ts";
import { WholeAnswer } from "../../../src/wire/whole-answer.ts";

const WORD = "word ";

export class MockAnswer {
  readonly #response: ServerResponse;
  readonly #head: { requestId: string; createdS: number; model: string };
  readonly #stream: ChatStream | null;

  constructor(response: ServerResponse, requestId: string, model: string, stream: boolean) {
    this.#response = response;
    this.#head = { requestId, createdS: Math.floor(Date.now() / 1_000), model };
    this.#stream = stream ? new ChatStream(this.#head, { includeUsage: false, n: 1 }) : null;
  }

  /** As a real one: the edge is told at once that the request is here. */
  accept(): void {
    const type = this.#stream === null ? "application/json" : "text/event-stream; charset=utf-8";
    this.#response.writeHead(200, { "content-type": type, "cache-control": "no-cache" });
    this.#response.flushHeaders();
  }

  firstToken(): void {
    if (this.#stream !== null) this.#response.write(this.#stream.open() + this.#stream.event(textOf(1)));
  }

  /** The tokens after the first come at once: how an edge passes single events on is another bench's. */
  finish(usage: AnswerUsage): void {
    const finished: AnswerEvent = { type: "finished", choice: 0, reason: "length", stopText: null };
    if (this.#stream !== null) {
      const rest = usage.outputTokens > 1 ? this.#stream.event(textOf(usage.outputTokens - 1)) : "";
      return void this.#response.end(rest + this.#stream.event(finished) + this.#stream.close());
    }
    const answer = new WholeAnswer();
    answer.add(textOf(usage.outputTokens));
    answer.add(finished);
    answer.add({ type: "usage", usage });
    this.#response.end(JSON.stringify(chatCompletion(this.#head, { logprobs: null }, answer)));
  }
}

const textOf = (tokens: number): AnswerEvent => ({ type: "text", choice: 0, text: WORD.repeat(tokens), logprobs: null });
