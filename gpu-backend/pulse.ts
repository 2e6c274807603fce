/** Signs of life on an answer that has nothing to say. */
import type { ServerResponse } from "node:http";
import { PULSE_MS } from "../src/limits.ts";

/**
 * Writes something harmless whenever the answer has been silent: a comment to an SSE reader, white space to a JSON parser. While a prompt is computed
 * nothing else shows the edge that this replica lives. In the middle of an answer (a long tool call is collected, others' prompts are computed) only
 * bytes show a client's platform that the client has gone: the second write after that fails.
 */
export class Pulse {
  readonly #timer: NodeJS.Timeout;
  #writtenAtMs = performance.now();

  constructor(response: ServerResponse, sse: boolean) {
    this.#timer = setInterval(() => {
      if (performance.now() - this.#writtenAtMs < PULSE_MS) return;
      response.write(sse ? ": computing\n\n" : "\n");
      this.#writtenAtMs = performance.now();
    }, PULSE_MS);
  }

  /** Content has gone out. */
  wrote(): void {
    this.#writtenAtMs = performance.now();
  }

  end(): void {
    clearInterval(this.#timer);
  }
}
