/**
 * A conversation whose last message is the assistant's. The answer continues that message (the template leaves it open); what can't be
 * continued is refused. It is no error where nothing is written: a prompt may be counted or prefilled up to there.
 */
import { API_FACTS, type ApiName } from "./api-table.ts";
import { isObject, type Json, type Problem, refuse } from "./check.ts";
import type { InnerRequest } from "./inner.ts";

/** `body`: what the request was parsed from. */
export function openTurnProblem(request: InnerRequest, body: unknown): Problem {
  if (!("messages" in request.prompt)) return null;
  const last = request.prompt.messages.at(-1);
  if (last?.role !== "assistant") return null;
  const at = lastPlace(request.api, isObject(body) ? body : {});
  if (last.tool_calls && last.tool_calls.length > 0)
    return refuse(at, "calls tools, and their results are missing; send those behind it, or leave the calls out.");
  if (request.api === "messages" && request.responseFormat.type !== "text")
    return refuse(at, "begins an answer, which can't go together with an output format; end with a user's message.");
  return null;
}

function lastPlace(api: ApiName, body: Json): string {
  const { promptParam } = API_FACTS[api];
  const list = body[promptParam];
  return Array.isArray(list) && list.length > 0 ? `${promptParam}[${list.length - 1}]` : promptParam;
}
