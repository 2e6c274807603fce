/** Sends a finished response to the edge, which stores it for `previous_response_id` and for later reads. */
import { setTimeout as sleep } from "node:timers/promises";
import type { ChatMessage } from "../src/prefix/prompt.ts";
import { type AnswerHead, idTail } from "../src/wire/answer-event.ts";
import { assistantMessage } from "../src/wire/chat-answer.ts";
import { HEADER } from "../src/wire/headers.ts";
import type { InnerRequest } from "../src/wire/inner.ts";
import { inputItemsOf } from "../src/wire/responses-items.ts";
import { responseId, responseObject } from "../src/wire/response-object.ts";
import type { WholeAnswer } from "../src/wire/whole-answer.ts";
import { logLine } from "./operator-log.ts";
import { withinLimit } from "./time-limit.ts";

/** Limit of all tries together; the client waits for the end of its answer meanwhile. */
const PATIENCE_MS = 5_000;
const TRIES = 3;
const PAUSE_MS = 100;

/** The edge's own origin, from the address of its announce socket. */
export function edgeOrigin(join: string): string {
  const url = new URL(join);
  return `${url.protocol === "wss:" ? "https:" : "http:"}//${url.host}`;
}

/** The conversation up to and with this answer. Instructions are for one response only. */
function messagesAfter(request: InnerRequest, answer: WholeAnswer): ChatMessage[] {
  const before = "messages" in request.prompt ? request.prompt.messages : [];
  const [first] = before;
  const instructions = request.responses?.instructions ?? null;
  const instructed = instructions !== null && first?.role === "system" && first.content === instructions;
  const heard = before.slice(instructed ? 1 : 0);
  const written = assistantMessage(answer.choice(0));
  const last = heard.at(-1);
  // A message that was continued is one message.
  if (last?.role !== "assistant" || (last.tool_calls?.length ?? 0) > 0) return [...heard, written];
  const begun =
    typeof last.content === "string" ? last.content : (last.content ?? []).map((part) => (part.type === "text" ? part.text : "")).join("");
  return [...heard.slice(0, -1), { ...written, content: begun + (written.content ?? "") }];
}

/** Never rejects: an answer that cannot be stored is still an answer. */
export async function storeResponse(
  join: string,
  ticket: string | null,
  { head, request, answer }: { head: AnswerHead; request: InnerRequest; answer: WholeAnswer },
): Promise<void> {
  if (ticket === null || request.responses?.store !== true) return;
  const url = `${edgeOrigin(join)}/internal/results/${encodeURIComponent(responseId(head))}`;
  const response = responseObject(head, request, answer);
  const body = JSON.stringify({
    response,
    inputItems: inputItemsOf(request.responses.input, idTail(head)),
    messages: messagesAfter(request, answer),
  });
  const tried = await withinLimit({ ms: PATIENCE_MS }, async (signal) => {
    for (let attempt = 1; ; attempt += 1) {
      const result = await put(url, ticket, body, signal);
      if (result === "stored") return null;
      if (result.final || attempt >= TRIES || signal.aborted) return result.why;
      await sleep(PAUSE_MS);
    }
  });
  const why = tried.type === "done" ? tried.result : "no answer in time";
  if (why !== null) logLine(`${responseId(head)} is not stored by the edge: ${why}`);
}

async function put(url: string, ticket: string, body: string, signal: AbortSignal): Promise<"stored" | { why: string; final: boolean }> {
  try {
    const answer = await fetch(url, {
      method: "PUT",
      headers: { "content-type": "application/json", [HEADER.resultTicket]: ticket },
      body,
      signal,
    });
    await answer.body?.cancel();
    if (answer.ok) return "stored";
    return { why: `status ${answer.status}`, final: answer.status < 500 && answer.status !== 429 };
  } catch (cause) {
    return { why: cause instanceof Error ? cause.name : "no connection", final: false };
  }
}
