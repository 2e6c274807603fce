/** Where stored responses lie, and the tickets by which replicas fill them. */
import { type ApiError, apiError } from "../src/errors.ts";
import { dayOfPlace } from "../src/records/record-day.ts";
import { encodeResultTicket, readResultTicket } from "../src/wire/result-ticket.ts";
import type { Mac } from "../src/wire/sealed.ts";
import { diskHasRoom } from "./disk-room.ts";
import { configOf, type Env, sameText } from "./env.ts";
import { type Parts, type RecordsObject, RESULT_PATIENCE_MS, type StoreAnswer } from "./objects/records-object.ts";
import { dayPlaceOfRequest, isRequestOf, poolOfRequest } from "./request-id.ts";

/** Objects of a tenant's day in one pool. */
const MOST_OBJECTS = 128;
const RETRY_S = 5;

/** The texts are JSON. */
export interface StoredResult {
  response: string;
  /** An array. */
  inputItems: string;
  /** An array of the conversation's messages up to and with this answer. */
  messages: string;
}

type Records = DurableObjectStub<RecordsObject>;

export const responseIdOf = (requestId: string): string => `resp_${requestId.slice("req_".length)}`;

export const storageFull = (): ApiError => ({
  ...apiError(
    "storage_full",
    "The edge has no room to keep anything at the moment. Try again later, or send `store: false` and the whole conversation.",
  ),
  retryAfterSeconds: RETRY_S,
});

const macOf =
  (env: Env): Mac =>
  (text) =>
    Buffer.from(configOf(env).mac(text)).toString("base64url");

/** A right to hand this request's result up, until the replica has been patient for so long that none will come. */
export function resultTicket(env: Env, tenant: string, requestId: string): string {
  const expiresAtS = Math.floor((Date.now() + RESULT_PATIENCE_MS) / 1_000);
  return encodeResultTicket({ tenant, id: responseIdOf(requestId), expiresAtS }, macOf(env));
}

/** The tenant whose response this ticket is for, or null for a forged or expired one, asking no object. */
export function tenantOfTicket(env: Env, ticket: string, responseId: string): string | null {
  return readResultTicket(ticket, responseId, Date.now(), macOf(env), sameText);
}

/** Whether a response may be kept now; asked before anything is computed for it. */
export async function canStore(env: Env): Promise<boolean> {
  return diskHasRoom(env, "records");
}

/** This tenant's response, of which there may be nothing; null for an id that was never given to this tenant: no object is asked. */
export function storedResponse(env: Env, tenant: string, responseId: string): StoredResponse | null {
  if (!responseId.startsWith("resp_")) return null;
  const requestId = `req_${responseId.slice("resp_".length)}`;
  return isRequestOf(configOf(env), tenant, requestId) ? new StoredResponse(env, tenant, requestId) : null;
}

export class StoredResponse {
  readonly #env: Env;
  readonly #id: string;
  readonly #path: string;
  readonly #dayMs: number;

  /** @param requestId of a placed request of this tenant */
  constructor(env: Env, tenant: string, requestId: string) {
    const place = dayPlaceOfRequest(requestId);
    this.#env = env;
    this.#id = responseIdOf(requestId);
    this.#path = `${tenant}/${poolOfRequest(requestId) ?? ""}/${place}`;
    this.#dayMs = dayOfPlace(place, Date.now());
  }

  /** JSON text; null where nothing is stored. */
  async read(part: keyof StoredResult): Promise<string | null | ApiError> {
    const answer = await this.#each(async (records) => {
      const read = await records.read(this.#id, part);
      return read.type === "elsewhere" ? read.type : read;
    });
    if (answer === null) return null;
    if ("code" in answer) return answer;
    return answer.type === "found" ? answer.text : null;
  }

  /** The first result stays: a second one is the same replica asking again, or one that was thought lost. */
  async store(result: StoredResult): Promise<Exclude<StoreAnswer, "elsewhere" | "busy"> | ApiError> {
    if (!(await canStore(this.#env))) return storageFull();
    const parts: Parts = { ...result };
    const answer = await this.#each((records) => records.store({ id: this.#id, parts, dayMs: this.#dayMs }));
    return answer === null || answer === "busy" ? storageFull() : answer;
  }

  /** False when nothing was stored. */
  async delete(): Promise<boolean | ApiError> {
    const answer = await this.#each((records) => records.delete(this.#id, this.#dayMs));
    return typeof answer === "object" && answer !== null ? answer : answer === "deleted";
  }

  /** The day's objects in their order, until one does not send on. Null: all did. */
  async #each<T>(ask: (records: Records) => Promise<T | "elsewhere">): Promise<T | null | ApiError> {
    try {
      for (let nth = 0; nth < MOST_OBJECTS; nth++) {
        const answer = await ask(this.#env.RECORDS.getByName(`${this.#path}/${nth}`));
        if (answer !== "elsewhere") return answer;
      }
      return null;
    } catch (error) {
      return this.#named(error);
    }
  }

  /** An object whose write finds no room ends; its callers get SQLite's code in a message, or none where even its file can't be opened. */
  async #named(error: unknown): Promise<ApiError> {
    const words = error instanceof Error ? error.message : "";
    if (words.includes("SQLITE_FULL") || !(await canStore(this.#env))) return storageFull();
    throw error;
  }
}
