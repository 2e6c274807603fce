import type { Context } from "hono";
import { type ApiError } from "../src/errors.ts";
import { openaiErrorBody } from "../src/wire/openai.ts";
import type { Config, Env } from "./env.ts";

export type AppEnv = { Bindings: Env; Variables: { config: Config; tenant: string } };

/** The error in OpenAI's envelope. */
export function errorResponse(error: ApiError, headers: Record<string, string> = {}): Response {
  const retry: Record<string, string> = error.retryAfterSeconds === undefined ? {} : { "retry-after": String(error.retryAfterSeconds) };
  return Response.json(openaiErrorBody(error), { status: error.status, headers: { ...retry, ...headers } });
}

export const background =
  (c: Context<AppEnv>) =>
  (work: Promise<unknown>): void =>
    c.executionCtx.waitUntil(work);
