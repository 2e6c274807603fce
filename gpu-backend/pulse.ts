/** Signs of life on an answer that has nothing to say. */
import type { ServerResponse } from "node:http";

/**
 * While a prompt is computed nothing else shows the edge that this replica lives. And in the middle of an answer, while a long tool call is collected
 * or others' prompts are computed, only bytes show a client's platform that the client has gone: the second write after that fails.
 */
const ALIVE_MS = 1_000;

/** Writes something harmless whenever the answer has been silent: a comment to an SSE reader, white space to a JSON parser. */
export class Pulse {
  readonly #timer: NodeJS.Timeout;
  #writtenAtMs = performance.now();

  constructor(response: ServerResponse, sse: boolean) {
    this.#timer = setInterval(() => {
      if (performance.now() - this.#writtenAtMs < ALIVE_MS) return;
      response.write(sse ? ": computing\n\n" : "\n");
      this.#writtenAtMs = performance.now();
    }, ALIVE_MS);
  }

  /** Content has gone out. */
  wrote(): void {
    this.#writtenAtMs = performance.now();
  }

  end(): void {
    clearInterval(this.#timer);
  }
}
