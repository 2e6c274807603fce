import { createMiddleware } from "hono/factory";
import { HEADER } from "../../src/wire/headers.ts";
import type { AppEnv } from "../context.ts";

const METHODS = "GET, HEAD, POST, DELETE, OPTIONS";
const ALWAYS_ALLOWED = ["authorization", "content-type", "x-api-key", "anthropic-version", "anthropic-beta"];
const EXPOSED = [
  HEADER.requestId,
  HEADER.requestIdAnthropic,
  HEADER.pool,
  HEADER.model,
  HEADER.poolReason,
  HEADER.replica,
  HEADER.cachedTokens,
  HEADER.attempts,
  "retry-after",
  "www-authenticate",
  "x-should-retry",
].join(", ");
const NAME = /^[0-9a-z!#$%&'*+.^_`|~-]{1,64}$/;
const MOST_NAMES = 64;
const DAY_S = 86_400;

/** What the page's client wants to send, by name: the SDKs' own headers are too many and too new for a list. */
function allowed(asked: string | undefined): string {
  const names = (asked ?? "")
    .slice(0, MOST_NAMES * 64)
    .toLowerCase()
    .split(",")
    .map((name) => name.trim())
    .filter((name) => NAME.test(name));
  return [...new Set([...ALWAYS_ALLOWED, ...names])].slice(0, MOST_NAMES).join(", ");
}

/** What no page of another origin has business with: the state of the deployment, and the replicas' own paths. */
const SAME_ORIGIN = /^\/(?:health|healthz|metrics|announce(?:\/.*)?|internal(?:\/.*)?)$/;

/** Any page may call, since the key travels in a header and never in a cookie. A preflight carries no key and is answered at once. */
export const crossOrigin = () =>
  createMiddleware<AppEnv>(async (c, next) => {
    const isOpen = !SAME_ORIGIN.test(c.req.path);
    if (isOpen && c.req.method === "OPTIONS") {
      return new Response(null, {
        status: 204,
        headers: {
          "access-control-allow-origin": "*",
          "access-control-allow-methods": METHODS,
          "access-control-allow-headers": allowed(c.req.header("access-control-request-headers")),
          "access-control-max-age": String(DAY_S),
          vary: "access-control-request-headers",
        },
      });
    }
    await next();
    const { headers, status } = c.res;
    if (status === 101) return undefined;
    if (isOpen) {
      headers.set("access-control-allow-origin", "*");
      headers.set("access-control-expose-headers", EXPOSED);
    }
    headers.set("x-content-type-options", "nosniff");
    if (status >= 400) headers.set("cache-control", "no-store");
    return undefined;
  });
