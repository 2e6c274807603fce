/**
 * One inference request, from what is asked to the last byte of its answer. A route makes it of an HTTP request; whoever keeps requests and has them
 * answered later makes it of what is kept.
 */
import type { EdgeView } from "../../src/edge/edge-view.ts";
import { forwardedDigest } from "../../src/wire/admission.ts";
import type { Work } from "../../src/wire/api-table.ts";
import { HEADER } from "../../src/wire/headers.ts";
import type { InnerRequest } from "../../src/wire/inner.ts";
import type { Urgency } from "../../src/wire/urgency.ts";
import type { Config, Env } from "../env.ts";
import { mintPlacedRequestId } from "../request-id.ts";
import { sha256 } from "../sha256.ts";
import { responseIdOf, resultTicket, type StoredResponse, storedResponse } from "../stored-response.ts";
import { Ticker } from "../ticker.ts";

/** The edge that answers, as an isolate has it. */
export interface Here {
  env: Env;
  config: Config;
  view: EdgeView;
  /** Keeps the edge running until the work is done. */
  background: (work: Promise<unknown>) => void;
}

/** What is asked, and by whom. */
export interface Asked {
  tenant: string;
  /** Of the endpoint: the client's, and the replica's. */
  path: string;
  request: InnerRequest;
  /** What the replica gets: the conversation so far where a stored response holds it, then the client's own body. */
  body: Uint8Array;
  historyBytes: number;
  /** Only what generates streams or is stored; counts run no engine. */
  work: Work;
  /** For how long its prompt's blocks are to stay; null: as long as there is room. */
  pinMs: number | null;
  urgency: Urgency;
}

/** Whoever waits for the answer. A signal of the platform would cost more than all else that a call begins with. */
export class Client {
  readonly #listeners = new Set<() => void>();
  #hasLeft = false;

  get hasLeft(): boolean {
    return this.#hasLeft;
  }

  /** It may be said more than once. */
  left(): void {
    this.#hasLeft = true;
    for (const listener of this.#listeners) listener();
    this.#listeners.clear();
  }

  /** At once where it has left already. What it returns takes the listener back. */
  whenLeft(listener: () => void): () => void {
    if (this.#hasLeft) listener();
    else this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

export class InferenceCall {
  readonly here: Here;
  readonly asked: Asked;
  readonly client: Client;
  /** Of all its limits; `answerCall` stops it. */
  readonly ticker: Ticker;
  readonly isStream: boolean;
  readonly isStored: boolean;
  #id: string | null = null;
  #digest: string | null = null;
  #headers: Readonly<Record<string, string>> | null = null;
  #stored: StoredResponse | null = null;

  /** `arrivedAtMs`: when it came, before its body; wall clock. */
  constructor(here: Here, asked: Asked, client: Client, arrivedAtMs: number) {
    this.here = here;
    this.asked = asked;
    this.client = client;
    this.ticker = new Ticker(arrivedAtMs);
    const isGenerated = asked.work === "generate";
    this.isStream = isGenerated && asked.request.stream;
    this.isStored = isGenerated && asked.request.responses?.store === true;
  }

  /** Null before a pool was chosen. */
  get id(): string | null {
    return this.#id;
  }

  /** The id, which names the pool that is asked first and stays whatever becomes of the request. */
  idAt(pool: string): string {
    this.#id ??= mintPlacedRequestId(this.here.config, this.asked.tenant, pool);
    return this.#id;
  }

  /** Of the forwarded body (src/wire/admission.ts). */
  get digest(): string {
    const { historyBytes, body } = this.asked;
    this.#digest ??= forwardedDigest(sha256, historyBytes, sha256(body));
    return this.#digest;
  }

  /** For the replica, besides the id and the admission. `id`: the request's own. */
  replicaHeaders(id: string): Readonly<Record<string, string>> {
    this.#headers ??= this.#headersFor(id);
    return this.#headers;
  }

  /** Where the replica hands its result up; null: it keeps none. `id`: the request's own. */
  stored(id: string): StoredResponse | null {
    if (this.isStored) this.#stored ??= storedResponse(this.here.env, this.asked.tenant, responseIdOf(id));
    return this.#stored;
  }

  #headersFor(id: string): Record<string, string> {
    const { tenant, historyBytes, pinMs, work } = this.asked;
    const headers: Record<string, string> = {};
    if (historyBytes > 0) headers[HEADER.historyBytes] = String(historyBytes);
    if (pinMs !== null && work !== "count") headers[HEADER.pinMs] = String(pinMs);
    if (this.isStored) headers[HEADER.resultTicket] = resultTicket(this.here.env, tenant, id);
    return headers;
  }
}
