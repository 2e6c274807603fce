/** The requests that are under way at a server: a replica that drains ends when there are none. */
import type { IncomingMessage, Server, ServerResponse } from "node:http";

/** A request that the pool sent before it learnt of the drain arrives within this time. */
const GRACE_MS = 250;

export class OpenRequests {
  readonly #open = new Set<ServerResponse>();
  #onIdle: (() => void) | null = null;
  #grace: NodeJS.Timeout | undefined;

  /** Reads (health, metrics) do not count. */
  constructor(server: Server) {
    server.on("request", (request: IncomingMessage, response: ServerResponse) => {
      if (request.method !== "POST") return;
      clearTimeout(this.#grace);
      this.#open.add(response);
      response.once("close", () => {
        this.#open.delete(response);
        this.#settle();
      });
    });
  }

  get count(): number {
    return this.#open.size;
  }

  /** Resolves when there have been none for a moment: whole answers, handed to the network. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#onIdle = resolve;
      this.#settle();
    });
  }

  #settle(): void {
    if (this.#open.size > 0 || this.#onIdle === null) return;
    clearTimeout(this.#grace);
    this.#grace = setTimeout(this.#onIdle, GRACE_MS);
  }
}
