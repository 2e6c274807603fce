import { createMiddleware } from "hono/factory";
import { HEADER } from "../../src/wire/headers.ts";
import type { AppEnv } from "../context.ts";
import { mintRequestId } from "../request-id.ts";

/** An answer that never got as far as a pool has an id too, to be named to the operator. */
export const requestIds = () =>
  createMiddleware<AppEnv>(async (c, next) => {
    await next();
    const { headers, status } = c.res;
    if (status !== 101 && !headers.has(HEADER.requestId)) headers.set(HEADER.requestId, mintRequestId("none"));
  });
