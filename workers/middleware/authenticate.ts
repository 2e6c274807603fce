import type { Context } from "hono";
import { createMiddleware } from "hono/factory";
import { apiError } from "../../src/errors.ts";
import { type AppEnv, errorResponse } from "../context.ts";
import { configOf } from "../env.ts";

/** OpenAI's words: LiteLLM knows a refused key by them, not by its code. */
const INCORRECT = "Incorrect API key provided";

/** Frameworks fill `authorization` with what they have (nothing, a proxy's Basic) beside a right `x-api-key`: only a Bearer token comes before it. */
function presentedKey(c: Context<AppEnv>): string | undefined {
  const bearer = /^Bearer +(\S+)$/i.exec(c.req.header("authorization")?.trim() ?? "")?.[1];
  return bearer ?? (c.req.header("x-api-key")?.trim() || undefined);
}

/** Reads the key from `authorization: Bearer` or `x-api-key` and sets the tenant. A forged key is refused by its tag, asking nobody. */
export const authenticate = () =>
  createMiddleware<AppEnv>(async (c, next) => {
    const config = configOf(c.env);
    const presented = presentedKey(c);
    if (presented === undefined) {
      return errorResponse(
        c,
        apiError("invalid_api_key", `${INCORRECT}: the request has no key. Send it as \`Authorization: Bearer YOUR_KEY\`.`),
      );
    }
    const key = config.keyOf(presented);
    if (key === null)
      return errorResponse(c, apiError("invalid_api_key", `${INCORRECT}: it is not one of this deployment's. Check it for typing errors.`));
    c.set("config", config);
    c.set("tenant", key.tenant);
    await next();
    return undefined;
  });
