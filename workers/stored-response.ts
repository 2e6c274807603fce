/** Where stored responses lie, and the tickets by which replicas fill them. */
import { configOf, type Env, sameText } from "./env.ts";
import { hashTicket, type ResponseObject } from "./objects/response-object.ts";
import { isRequestOf } from "./request-id.ts";

/** An answer that no replica handed up within an hour never comes. */
const UNSTORED_MS = 3_600_000;
/** Tenant, 22 characters of chance, a tag of 22 that ties them to one response of this deployment. */
const TICKET = /^([0-9A-Za-z]{1,32})\.([0-9A-Za-z_-]{22})([0-9A-Za-z_-]{22})$/;
const PART_LENGTH = 22;

export const responseIdOf = (requestId: string): string => `resp_${requestId.slice("req_".length)}`;

/** The object of this tenant's response, which may have nothing; null for an id that was never given to this tenant: no object is asked. */
export function storedResponse(env: Env, tenant: string, responseId: string): DurableObjectStub<ResponseObject> | null {
  if (!responseId.startsWith("resp_")) return null;
  const requestId = `req_${responseId.slice("resp_".length)}`;
  return isRequestOf(configOf(env), tenant, requestId) ? env.RESPONSE.getByName(`${tenant}/${responseId}`) : null;
}

const tagOf = (env: Env, tenant: string, responseId: string, chance: string): string =>
  Buffer.from(configOf(env).mac(`result:${tenant}/${responseId}:${chance}`))
    .toString("base64url")
    .slice(0, PART_LENGTH);

/** The tenant whose response this ticket is for, or null for a forged one, asking no object. Whether it is spent the object knows. */
export function tenantOfTicket(env: Env, ticket: string, responseId: string): string | null {
  const [, tenant = "", chance = "", tag = ""] = TICKET.exec(ticket) ?? [];
  return tenant !== "" && sameText(tag, tagOf(env, tenant, responseId, chance)) ? tenant : null;
}

export interface Opening {
  ticket: string;
  object: DurableObjectStub<ResponseObject>;
  /** No replica may get the ticket before this has resolved. */
  opening: Promise<void>;
}

/** A one-time right to hand this request's result up. */
export function openResponse(env: Env, tenant: string, requestId: string): Opening {
  const responseId = responseIdOf(requestId);
  const chance = Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString("base64url");
  const ticket = `${tenant}.${chance}${tagOf(env, tenant, responseId, chance)}`;
  const object = env.RESPONSE.getByName(`${tenant}/${responseId}`);
  const opening = object.open(hashTicket(ticket), Date.now() + UNSTORED_MS);
  // Whoever waits for it hears of it; when nobody comes to that, it has no consequence.
  opening.catch(() => undefined);
  return { ticket, object, opening };
}
