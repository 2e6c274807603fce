import type { Handler } from "hono";
import { apiError } from "../../src/errors.ts";
import { type AppEnv, errorResponse } from "../context.ts";
import { poolOfRequest } from "../request-id.ts";

/** Why a request went where it went, told to its own tenant only. */
export const decisions: Handler<AppEnv, "/v1/decisions/:id"> = async (c) => {
  const id = c.req.param("id");
  const pool = poolOfRequest(id);
  const none = (): Response =>
    errorResponse(
      c,
      apiError("not_found", "No such decision is kept. The id is that of `x-request-id`; the last thousand of a pool are kept.", "id"),
    );
  if (pool === null || !c.get("config").pools.includes(pool)) return none();
  const json = await c.env.POOL.getByName(pool).explain(id, c.get("tenant"));
  return json === null ? none() : new Response(json, { headers: { "content-type": "application/json" } });
};
