import { createMiddleware } from "hono/factory";
import { HEADER } from "../../src/wire/headers.ts";
import { type AppEnv, requestIdOf } from "../context.ts";

/** Every answer names its request, in OpenAI's spelling and in Anthropic's. One that never got as far as a pool has an id too. */
export const requestIds = () =>
  createMiddleware<AppEnv>(async (c, next) => {
    await next();
    if (c.res.status === 101) return;
    const id = requestIdOf(c);
    c.res.headers.set(HEADER.requestId, id);
    c.res.headers.set(HEADER.requestIdAnthropic, id);
  });
