import type { Context, Handler } from "hono";
import { type ApiError, apiError } from "../../src/errors.ts";
import { type AppEnv, background, errorResponse } from "../context.ts";
import { HEADER } from "../../src/wire/headers.ts";
import { configOf } from "../env.ts";
import { lastOfConnection } from "../last-of-connection.ts";
import { poolStub } from "../pool-stub.ts";
import { Strangers } from "../strangers.ts";

/** Of this isolate. */
const strangers = new Strangers();

/** Percent-encoded, as names may be in any script; empty: none that can be read. */
function replicaIn(header = ""): string {
  try {
    return decodeURIComponent(header);
  } catch {
    return "";
  }
}

async function refused(c: Context<AppEnv>, error: ApiError): Promise<Response> {
  await strangers.wait();
  const answer = errorResponse(c, error);
  return configOf(c.env).isLoopbackOnly ? lastOfConnection(answer, background(c)) : answer;
}

/**
 * Where replicas open their socket. The join token comes in the `authorization` header, never in the URL: whoever does not have it gets no
 * socket, as each frame of a socket is read whole before this code sees it.
 */
export const announce: Handler<AppEnv, "/announce/:pool"> = async (c) => {
  const pool = c.req.param("pool");
  if (!configOf(c.env).pools.includes(pool)) return errorResponse(c, apiError("not_found", `There is no pool ${pool.slice(0, 64)} here.`));
  if (c.req.header("upgrade")?.toLowerCase() !== "websocket") {
    return new Response("Replicas connect here by WebSocket.", { status: 426, headers: { upgrade: "websocket" } });
  }
  if (c.req.header("origin") !== undefined) return refused(c, apiError("forbidden", "Replicas connect here, not pages of a browser."));
  const token = /^Bearer (\S{1,128})$/.exec(c.req.header("authorization") ?? "")?.[1] ?? "";
  if (!configOf(c.env).isJoinToken(token, pool, replicaIn(c.req.header(HEADER.replica)))) {
    const message = "This is not the pool's join token. Replicas send it as `authorization: Bearer wpj_...` when they open the socket.";
    return refused(c, apiError("invalid_join_token", message));
  }
  const response = await poolStub(c.env, pool).fetch(c.req.raw);
  // Headers are added to what is no socket; an object's own response takes none.
  return response.status === 101 ? response : new Response(response.body, response);
};
