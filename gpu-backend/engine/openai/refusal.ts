/** Why the server did not take a request, in the contract's words. */
import type { EngineRefusal, EngineRequest } from "../engine.ts";
import { problemOf } from "./run.ts";
import type { LinkAnswer, LinkFailure } from "./server-link.ts";

/** What in the server's own message shows which of a request's parts it refuses; no word of it is passed on. Such servers share no codes. */
const CONTEXT = /context|too long|max_model_len|input_tokens/i;
const TOKEN = /vocab|token id|invalid token/i;
const MAX_MESSAGE = 10_000;

export function refusalOf(opened: LinkAnswer | LinkFailure, request: EngineRequest, contextTokens: number): EngineRefusal {
  const message = problemOf(opened);
  if (opened.type === "failed") return { type: "refused", reason: "unavailable", message };
  const { status, body } = opened;
  if (status === 429 || status === 503) return { type: "refused", reason: "busy", message };
  if (status !== 400 && status !== 413 && status !== 422) return { type: "refused", reason: "unavailable", message };
  const said = JSON.stringify(body ?? null).slice(0, MAX_MESSAGE);
  const { tokens, grammar } = request;
  if (tokens !== undefined && TOKEN.test(said)) {
    const list = Array.from(tokens);
    const index = list.reduce((at, token, other) => (token > (list[at] ?? -1) ? other : at), 0);
    // The server does not say which: vocabularies end above, so it is the largest.
    return { type: "refused", reason: "unknown_token", index, message: "the engine's server does not have it" };
  }
  if (CONTEXT.test(said) || status === 413) {
    // Longer than the context by an estimate; the tokens were not counted.
    return { type: "refused", reason: "context_length_exceeded", promptTokens: contextTokens + 1, exact: false, contextTokens, message };
  }
  if (grammar !== null) return { type: "refused", reason: "grammar", message: "the engine's server does not take it", place: null };
  return { type: "refused", reason: "unavailable", message };
}
