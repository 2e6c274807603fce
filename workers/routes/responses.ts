/** Stored responses: read, page, delete. A foreign id is as unknown as one that never was. */
import type { Context, Handler } from "hono";
import { type ApiError, apiError } from "../../src/errors.ts";
import { type AppEnv, errorResponse } from "../context.ts";
import type { Page } from "../objects/response-object.ts";
import { storedResponse } from "../stored-response.ts";

const MOST_ITEMS = 100;
const DEFAULT_ITEMS = 20;

type WithId = Context<AppEnv, "/v1/responses/:id">;

const objectOf = (c: WithId) => storedResponse(c.env, c.get("tenant"), c.req.param("id"));

const none = (c: WithId): Response =>
  errorResponse(
    c,
    apiError("not_found", "No such response is stored. Responses are kept for 30 days unless they were made with `store: false`.", "id"),
  );

const json = (text: string): Response =>
  new Response(text, { headers: { "content-type": "application/json", "cache-control": "no-store" } });

export const getResponse: Handler<AppEnv, "/v1/responses/:id"> = async (c) => {
  if (c.req.query("stream") === "true" || c.req.query("starting_after") !== undefined) {
    const message = "Streams of stored responses are not kept, so none can be resumed. Leave out `stream` and `starting_after`.";
    return errorResponse(c, apiError("invalid_request", message, "stream"));
  }
  const text = (await objectOf(c)?.get()) ?? null;
  return text === null ? none(c) : json(text);
};

export const deleteResponse: Handler<AppEnv, "/v1/responses/:id"> = async (c) => {
  const deleted = (await objectOf(c)?.delete()) ?? false;
  return deleted ? c.json({ id: c.req.param("id"), object: "response", deleted: true }) : none(c);
};

export const cancelResponse: Handler<AppEnv, "/v1/responses/:id/cancel"> = async (c) => {
  const text = (await objectOf(c)?.get()) ?? null;
  if (text === null) return none(c);
  const message = "Only a background response can be cancelled, and this one is not. To stop an answer, close its connection.";
  return errorResponse(c, apiError("invalid_request", message));
};

function pageOf(c: WithId): Page | ApiError {
  const limitText = c.req.query("limit") ?? String(DEFAULT_ITEMS);
  const limit = /^\d{1,3}$/.test(limitText) ? Number(limitText) : 0;
  if (limit < 1 || limit > MOST_ITEMS) return apiError("invalid_request", `\`limit\` must be from 1 to ${MOST_ITEMS}.`, "limit");
  const order = c.req.query("order") ?? "desc";
  if (order !== "asc" && order !== "desc") return apiError("invalid_request", "`order` must be 'asc' or 'desc'.", "order");
  return { after: c.req.query("after") ?? null, limit, order };
}

export const inputItems: Handler<AppEnv, "/v1/responses/:id/input_items"> = async (c) => {
  const page = pageOf(c);
  if ("code" in page) return errorResponse(c, page);
  const answer = (await objectOf(c)?.inputItems(page)) ?? { type: "not_found" as const };
  if (answer.type === "not_found") return none(c);
  if (answer.type === "unknown_after")
    return errorResponse(c, apiError("invalid_request", "`after` names no item of this response.", "after"));
  const { firstId, lastId, hasMore } = answer;
  const rest = JSON.stringify({ first_id: firstId, last_id: lastId, has_more: hasMore }).slice(1);
  return json(`{"object":"list","data":${answer.data},${rest}`);
};
