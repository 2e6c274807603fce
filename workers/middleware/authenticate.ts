import { createMiddleware } from "hono/factory";
import { apiError } from "../../src/errors.ts";
import { parseKey } from "../../src/tenancy/key.ts";
import { type AppEnv, errorResponse } from "../context.ts";
import { configOf, sameText } from "../env.ts";

/** Reads the key from `authorization: Bearer` or `x-api-key` and sets the tenant. A forged key is refused by its tag, asking nobody. */
export const authenticate = () =>
  createMiddleware<AppEnv>(async (c, next) => {
    const config = configOf(c.env);
    const header = c.req.header("authorization");
    const presented = header === undefined ? c.req.header("x-api-key") : /^Bearer +(\S+)$/i.exec(header)?.[1];
    if (presented === undefined) {
      return errorResponse(c, apiError("invalid_api_key", "No API key was given. Send it as `Authorization: Bearer YOUR_KEY`."));
    }
    const key = parseKey(presented, config.mac, sameText);
    if (key === null)
      return errorResponse(c, apiError("invalid_api_key", "This API key is not one of this deployment's. Check it for typing errors."));
    c.set("config", config);
    c.set("tenant", key.tenant);
    await next();
    return undefined;
  });
