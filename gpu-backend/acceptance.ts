/** How a request's answer begins: with its real status where that is known soon, else with the word that the request is here. */
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

  /** Of a request that is whole and was let in: from now on somebody works at it. */
  constructor(response: ServerResponse) {
    this.#response = response;
    this.#late = setTimeout(() => this.#accept(), ACCEPTED_WITHIN_MS);
    response.once("close", () => this.#end());
  }

  /** What came of it; the answer's bytes follow. Once. */
  begin(status: number, headers: Readonly<Record<string, string | number>>): void {
    if (this.#begun) throw new Error("the answer has begun already");
    this.#begun = true;
    this.#end();
    if (this.#keepAlive === null) this.#response.writeHead(status, headers);
    else this.#response.write(encodeVerdict({ status, contentType: String(headers["content-type"] ?? "") }));
  }

  /** Nothing more is said of it: it failed here, and the edge asks elsewhere. */
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
