/** Keep-alive bytes on an HTTP answer while it has no content to send. */
import type { ServerResponse } from "node:http";
import { KEEP_ALIVE_MS } from "../src/limits.ts";

/**
 * Writes bytes without meaning whenever the answer was silent: a comment for an SSE reader, white space for a JSON parser.
 * While a prompt is computed, nothing else shows the edge that this replica lives. In the middle of an answer, only bytes
 * show the client's platform that the client left: the second write after that fails.
 */
export class KeepAlive {
  readonly #timer: NodeJS.Timeout;
  #writtenAtMs = performance.now();

  constructor(response: ServerResponse, sse: boolean) {
    this.#timer = setInterval(() => {
      if (performance.now() - this.#writtenAtMs < KEEP_ALIVE_MS) return;
      response.write(sse ? ": computing\n\n" : "\n");
      this.#writtenAtMs = performance.now();
    }, KEEP_ALIVE_MS);
  }

  /** Content was sent. */
  wrote(): void {
    this.#writtenAtMs = performance.now();
  }

  end(): void {
    clearInterval(this.#timer);
  }
}
