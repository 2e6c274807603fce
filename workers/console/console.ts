/** The page at `/` and its files. They are the same for everyone and hold nothing of the deployment; what they show they ask with a key. */
import type { Context, Handler } from "hono";
import type { AppEnv } from "../context.ts";
import { FILES } from "./built/files.js";

/** Scripts and styles come from here alone, none inline; strings become HTML by DOMPurify's hand only (docs/decisions/0025-console.md). */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types dompurify",
].join("; ");

const HEADERS = {
  "content-security-policy": POLICY,
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cache-control": "no-cache",
};

function served(c: Context<AppEnv>, path: string): Response | Promise<Response> {
  const file = FILES[path];
  if (file === undefined) return c.notFound();
  const headers = { ...HEADERS, etag: file.etag, ...(path === "/" ? { vary: "accept" } : {}) };
  if (c.req.header("if-none-match") === file.etag) return new Response(null, { status: 304, headers });
  return new Response(file.text, { headers: { ...headers, "content-type": file.type } });
}

/** Browsers name HTML in what they accept; programs, which send `*` or JSON, get what they have always got. */
const isBrowser = (accept: string | undefined): boolean => /(?:^|,)\s*text\/html\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))/i.test(accept ?? "");

export const about: Handler<AppEnv> = (c) => {
  if (isBrowser(c.req.header("accept"))) return served(c, "/");
  const said = { name: "warmpath", apis: ["openai", "anthropic"], openapi: "/openapi.json", models: "/v1/models" };
  return c.json(said, 200, { vary: "accept" });
};

export const consoleFile: Handler<AppEnv> = (c) => served(c, c.req.path);
