import type { Context } from "hono";
import { createMiddleware } from "hono/factory";
import type { AppEnv } from "../context.ts";
import { configOf } from "../env.ts";
import { authenticate } from "./authenticate.ts";

/** What a proxy or a tunnel adds. Behind one, whoever calls is not on this machine. */
const FORWARDING = /^(?:forwarded|via|x-forwarded(?:-.*)?|x-real-ip|x-client-ip|x-original-.*|true-client-ip|cf-.*|fly-client-ip)$/;
/** A page of the web that has made its own name lead to this machine still sends that name. */
const LOOPBACK_HOST = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

/** A program of the same machine: the edge listens on loopback only, and nothing forwarded the request. */
export function isFromThisMachine(c: Context<AppEnv>): boolean {
  if (!configOf(c.env).isLoopbackOnly || !LOOPBACK_HOST.test(new URL(c.req.url).hostname)) return false;
  return ![...c.req.raw.headers.keys()].some((name) => FORWARDING.test(name));
}

/** Metrics show how a deployment is loaded and what its pools are called. Only holders of a key and programs of the same machine may read them. */
export const metricsReader = () => {
  const keyed = authenticate();
  return createMiddleware<AppEnv>(async (c, next) => (isFromThisMachine(c) ? next() : keyed(c, next)));
};
