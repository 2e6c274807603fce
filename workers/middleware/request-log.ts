import { createMiddleware } from "hono/factory";
import { HEADER } from "../../src/wire/headers.ts";
import { REQUEST_LINE, type RefusedRequest } from "../../src/wire/request-line.ts";
import type { AppEnv } from "../context.ts";

const MOST_PATH = 128;
/** Paths that pages, probes and replicas poll: logged only when they fail. */
const POLLED = /^\/(?:$|console\/|healthz?$|metrics$|announce\/|internal\/|v1\/(?:replicas|decisions))/;

/** A line for each request that no replica answered, where WARMPATH_LOG asks for them. A replica logs its own requests: it knows the tokens. */
export const requestLog = () =>
  createMiddleware<AppEnv>(async (c, next) => {
    const beganMs = Date.now();
    await next();
    if (c.env.WARMPATH_LOG !== "requests" || c.res.headers.has(HEADER.replica)) return;
    const { method, path } = c.req;
    const { status } = c.res;
    if (status < 400 && (method === "POST" || POLLED.test(path))) return;
    const told: RefusedRequest = { method, path: path.slice(0, MOST_PATH), status, ms: Date.now() - beganMs };
    console.log(`${REQUEST_LINE} ${JSON.stringify(told)}`);
  });
