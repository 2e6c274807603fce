import { createMiddleware } from "hono/factory";
import { HEADER } from "../../src/wire/headers.ts";
import type { AppEnv } from "../context.ts";
import { mintRequestId } from "../request-id.ts";

/** Every answer names its request, in OpenAI's spelling and in Anthropic's. One that never got as far as a pool has an id too. */
export const requestIds = () =>
  createMiddleware<AppEnv>(async (c, next) => {
    c.set("requestId", mintRequestId());
    await next();
    if (c.res.status === 101) return;
    c.res.headers.set(HEADER.requestId, c.get("requestId"));
    c.res.headers.set(HEADER.requestIdAnthropic, c.get("requestId"));
  });
