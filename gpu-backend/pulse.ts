/** Signs of life on an answer that has nothing to say yet. */
import type { ServerResponse } from "node:http";

/** While a prompt is computed nothing else shows the edge that this replica lives. */
const ALIVE_MS = 1_000;
/** An answer that pauses in the middle, for others' prompts or a long tool call: clients want a byte every 15 s or so. */
const PAUSE_MS = 10_000;

/** Writes something harmless whenever the answer has been silent: a comment to an SSE reader, white space to a JSON parser. */
export class Pulse {
  readonly #timer: NodeJS.Timeout;
  #writtenAtMs = performance.now();
  #patienceMs = ALIVE_MS;

  constructor(response: ServerResponse, sse: boolean) {
    this.#timer = setInterval(() => {
      if (performance.now() - this.#writtenAtMs < this.#patienceMs) return;
      response.write(sse ? ": computing\n\n" : "\n");
      this.#writtenAtMs = performance.now();
    }, ALIVE_MS);
  }

  /** Content has gone out. */
  wrote(): void {
    this.#writtenAtMs = performance.now();
    this.#patienceMs = PAUSE_MS;
  }

  end(): void {
    clearInterval(this.#timer);
  }
}
