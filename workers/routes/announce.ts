import type { Handler } from "hono";
import { apiError } from "../../src/errors.ts";
import { type AppEnv, errorResponse } from "../context.ts";
import { configOf } from "../env.ts";
import { poolStub } from "../pool-stub.ts";

/** Where replicas open their socket. The join token comes inside the hello, never in the URL. */
export const announce: Handler<AppEnv, "/announce/:pool"> = (c) => {
  const pool = c.req.param("pool");
  if (!configOf(c.env).pools.includes(pool)) return errorResponse(c, apiError("not_found", `There is no pool ${pool.slice(0, 64)} here.`));
  if (c.req.header("upgrade")?.toLowerCase() !== "websocket") {
    return new Response("Replicas connect here by WebSocket.", { status: 426, headers: { upgrade: "websocket" } });
  }
  return poolStub(c.env, pool).fetch(c.req.raw);
};
