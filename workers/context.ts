import type { Context } from "hono";
import type { EdgeView } from "../src/edge/edge-view.ts";
import type { ApiError } from "../src/errors.ts";
import { apiOfPath, type ErrorApi, errorBody, errorStatus, retryHeaders } from "../src/wire/envelope.ts";
import type { Config, Env } from "./env.ts";
import { mintRequestId } from "./request-id.ts";

export type AppEnv = { Bindings: Env; Variables: { edge: EdgeView; config: Config; tenant: string; requestId: string | undefined } };

/** Of the request: a placed one has it from its call, any other gets one here. */
export function requestIdOf(c: Context<AppEnv>): string {
  const known = c.get("requestId");
  if (known !== undefined) return known;
  const minted = mintRequestId();
  c.set("requestId", minted);
  return minted;
}

/** Ends of the paths of Anthropic's clients and of OpenAI's, whatever base URL stands before them. */
const ANTHROPIC_END = /\/messages(?:\/count_tokens|\/batches(?:\/.*)?)?$/;
const OPENAI_END = /\/(?:completions|responses(?:\/.*)?)$/;

/** Whose shapes the client expects: the end of its path says so, and where that does not, a header that only Anthropic's clients send. */
export function dialectOf(c: Context<AppEnv>): ErrorApi {
  const { path } = c.req;
  const known = apiOfPath(path);
  if (known !== null) return known;
  const isAnthropic = c.req.header("anthropic-version") !== undefined;
  if (path.startsWith("/v1/models")) return isAnthropic ? "anthropic-models" : "chat";
  if (ANTHROPIC_END.test(path)) return "messages";
  return isAnthropic && !OPENAI_END.test(path) ? "messages" : "chat";
}

/** The error in the client's own envelope. */
export function errorResponse(c: Context<AppEnv>, error: ApiError, headers: Record<string, string> = {}): Response {
  const api = dialectOf(c);
  const status = errorStatus(api, error);
  const challenge: Record<string, string> = status === 401 ? { "www-authenticate": "Bearer" } : {};
  return Response.json(errorBody(api, error, requestIdOf(c)), {
    status,
    headers: { ...retryHeaders(error), ...challenge, ...headers },
  });
}

export const background =
  (c: Context<AppEnv>) =>
  (work: Promise<unknown>): void =>
    c.executionCtx.waitUntil(work);
