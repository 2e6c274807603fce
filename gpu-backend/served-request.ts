/** What is told of one request that this replica answered: its numbers, never its text. */
import type { ServerResponse } from "node:http";
import type { ChoiceEvent } from "./choices.ts";

export interface ServedRequest {
  method: string;
  path: string;
  /** 499: the client left before the end, or the answer was cut. */
  status: number;
  /** As the client named it; empty where the request was not understood. */
  model: string;
  /** Null: the prompt was not computed. */
  promptTokens: number | null;
  cachedTokens: number | null;
  outputTokens: number;
  /** From the request's arrival here; null: there was no token. */
  ttftMs: number | null;
  /** From its arrival to the end of its answer. */
  ms: number;
}

const CLIENT_LEFT = 499;

export class RequestWatch {
  model = "";
  /** What came of it, where that follows in the body of a 200 (acceptance.ts). */
  status: number | null = null;
  /** It was let in: before that nobody knows whose request it is. */
  isAdmitted = false;
  readonly #method: string;
  readonly #path: string;
  readonly #nowMs: () => number;
  readonly #beganMs: number;
  #promptTokens: number | null = null;
  #cachedTokens: number | null = null;
  #outputTokens = 0;
  #ttftMs: number | null = null;

  constructor(method: string, path: string, nowMs = () => performance.now()) {
    this.#method = method;
    this.#path = path;
    this.#nowMs = nowMs;
    this.#beganMs = nowMs();
  }

  /** Passes the events on. */
  async *follow(events: AsyncIterable<ChoiceEvent>): AsyncGenerator<ChoiceEvent> {
    for await (const step of events) {
      this.#see(step);
      yield step;
    }
  }

  /** The response is closed. */
  served({ statusCode, writableFinished }: Pick<ServerResponse, "statusCode" | "writableFinished">): ServedRequest {
    return {
      method: this.#method,
      path: this.#path,
      status: writableFinished ? (this.status ?? statusCode) : CLIENT_LEFT,
      model: this.model,
      promptTokens: this.#promptTokens,
      cachedTokens: this.#cachedTokens,
      outputTokens: this.#outputTokens,
      ttftMs: this.#ttftMs,
      ms: this.#nowMs() - this.#beganMs,
    };
  }

  #see({ choice, event }: ChoiceEvent): void {
    if (event.type === "queued" && choice === 0) this.#promptTokens = event.promptTokens;
    if (event.type === "started" && choice === 0) this.#cachedTokens = event.cachedTokens;
    if (event.type === "delta") {
      this.#ttftMs ??= this.#nowMs() - this.#beganMs;
      this.#outputTokens += event.tokens;
    }
    // Some engines know only at the end how long the prompt was, and what of it they found cached.
    if (event.type === "finished" && choice === 0 && (event.reason === "stop" || event.reason === "length")) {
      this.#promptTokens = event.promptTokens;
      this.#cachedTokens = event.cachedTokens;
    }
  }
}
