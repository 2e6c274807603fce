/** How an answer begins: with its real status when that is known early, otherwise with a 200 that only says that the request arrived. */
import type { ServerResponse } from "node:http";
import { HEADER } from "../src/wire/headers.ts";
import { encodeVerdict, VERDICT_FOLLOWS } from "../src/wire/verdict.ts";
import { KeepAlive } from "./keep-alive.ts";
import { ACCEPTED_WITHIN_MS } from "../src/limits.ts";

export class Acceptance {
  readonly #response: ServerResponse;
  readonly #late: NodeJS.Timeout;
  #keepAlive: KeepAlive | null = null;
  #begun = false;

  /** `response`: the answer to a request that was read whole and admitted. */
  constructor(response: ServerResponse) {
    this.#response = response;
    this.#late = setTimeout(() => this.#accept(), ACCEPTED_WITHIN_MS);
    response.once("close", () => this.#end());
  }

  /** Sends the real status; the answer's bytes follow. May be called once. */
  begin(status: number, headers: Readonly<Record<string, string | number>>): void {
    if (this.#begun) throw new Error("the answer has begun already");
    this.#begun = true;
    this.#end();
    if (this.#keepAlive === null) this.#response.writeHead(status, headers);
    else this.#response.write(encodeVerdict({ status, contentType: String(headers["content-type"] ?? "") }));
  }

  /** Cuts the connection: the request failed here, and the edge asks another replica. */
  abandon(): void {
    this.#end();
    this.#response.destroy();
  }

  get hasBegun(): boolean {
    return this.#begun;
  }

  #accept(): void {
    if (this.#response.destroyed) return;
    this.#response.writeHead(200, { "content-type": "text/plain", "cache-control": "no-cache", [HEADER.verdict]: VERDICT_FOLLOWS });
    this.#response.flushHeaders();
    this.#keepAlive = new KeepAlive(this.#response, false);
  }

  #end(): void {
    clearTimeout(this.#late);
    this.#keepAlive?.end();
  }
}
