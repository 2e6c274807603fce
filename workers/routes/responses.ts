/** Stored responses: read, page, delete. A foreign id is as unknown as one that never was. */
import type { Context, Handler } from "hono";
import { type ApiError, apiError } from "../../src/errors.ts";
import { type AppEnv, errorResponse } from "../context.ts";
import { type Page, pageOfItems } from "../../src/records/item-page.ts";
import { type StoredResult, storedResponse } from "../stored-response.ts";

const MOST_ITEMS = 100;
const DEFAULT_ITEMS = 20;

type WithId = Context<AppEnv, "/v1/responses/:id">;

const responseOf = (c: WithId) => storedResponse(c.env, c.get("tenant"), c.req.param("id"));

/** Of one that is not stored, or can't be read now, the answer that says so. */
async function partOf(c: WithId, part: keyof StoredResult): Promise<string | Response> {
  const text = (await responseOf(c)?.read(part)) ?? null;
  if (text === null) return none(c);
  return typeof text === "string" ? text : errorResponse(c, text);
}

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
  const text = await partOf(c, "response");
  return typeof text === "string" ? json(text) : text;
};

export const deleteResponse: Handler<AppEnv, "/v1/responses/:id"> = async (c) => {
  const deleted = (await responseOf(c)?.delete()) ?? false;
  if (typeof deleted === "object") return errorResponse(c, deleted);
  return deleted ? c.json({ id: c.req.param("id"), object: "response", deleted: true }) : none(c);
};

export const cancelResponse: Handler<AppEnv, "/v1/responses/:id/cancel"> = async (c) => {
  const text = await partOf(c, "response");
  if (typeof text !== "string") return text;
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
  const text = await partOf(c, "inputItems");
  if (typeof text !== "string") return text;
  const answer = pageOfItems(JSON.parse(text) as { id?: string }[], page);
  if (answer.type === "unknown_after")
    return errorResponse(c, apiError("invalid_request", "`after` names no item of this response.", "after"));
  const { data, firstId, lastId, hasMore } = answer;
  return json(JSON.stringify({ object: "list", data, first_id: firstId, last_id: lastId, has_more: hasMore }));
};
