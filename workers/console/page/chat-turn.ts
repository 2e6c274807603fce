/** One turn of the chat: what is asked, the answer as it comes, and what served it. */
import { SseLines } from "../../sse-lines.ts";
import { ask, headersOf, messageOf } from "./api.ts";
import { type Candidate, coldMs } from "./cold.ts";
import { turnEvents } from "./turn-event.ts";

/** A small model may never end by itself. */
const MOST_OUTPUT_TOKENS = 512;

export interface Turn {
  asked: string;
  answer: string;
  /** `stopped`: by the user. */
  state: "running" | "done" | "stopped" | "failed";
  message: string | null;
  replica: string | null;
  /** Cached prompt tokens as the pool predicted them, and as the replica reported them. */
  predictedTokens: number | null;
  cachedTokens: number | null;
  promptTokens: number | null;
  /** From sending to the first text, ms, as this browser saw it. */
  ttftMs: number | null;
  /** Predicted for a replica that holds nothing of the prompt, ms. */
  coldMs: number | null;
}

/** What is not known of a turn before it is answered. */
const UNKNOWN = { message: null, replica: null, predictedTokens: null, cachedTokens: null, promptTokens: null, ttftMs: null, coldMs: null };

export const freshTurn = (asked: string): Turn => ({ asked, answer: "", state: "running", ...UNKNOWN });

/** The conversation as the API takes it. A turn that failed before its answer began is left out: the API takes no empty answer. */
export function messagesOf(turns: readonly Turn[], asked: string): { role: "user" | "assistant"; content: string }[] {
  const before = turns
    .filter(({ answer }) => answer !== "")
    .flatMap((turn) => [
      { role: "user" as const, content: turn.asked },
      { role: "assistant" as const, content: turn.answer },
    ]);
  return [...before, { role: "user", content: asked }];
}

interface Told {
  attempts: { candidates: Candidate[]; decision: { chosen: number | null } }[];
}

async function coldMsOf(key: string, requestId: string | null): Promise<number | null> {
  if (requestId === null) return null;
  const told = await ask<Told>(key, `/v1/decisions/${encodeURIComponent(requestId)}`);
  const last = told.ok ? told.value.attempts.at(-1) : undefined;
  return last === undefined ? null : coldMs(last.candidates, last.decision.chosen);
}

/**
 * Runs one turn to its end; never rejects.
 *
 * @param changed called with what is new of the turn.
 * @param signal stops it.
 */
export async function runTurn(
  key: string,
  model: string,
  messages: ReturnType<typeof messagesOf>,
  changed: (part: Partial<Turn>) => void,
  signal: AbortSignal,
): Promise<void> {
  const begunMs = performance.now();
  let [answer, failure]: [string, string | null] = ["", null];
  try {
    const body = JSON.stringify({ model, messages, stream: true, stream_options: { include_usage: true }, max_tokens: MOST_OUTPUT_TOKENS });
    const headers = { ...headersOf(key), "content-type": "application/json" };
    const response = await fetch("/v1/chat/completions", { method: "POST", headers, body, signal });
    if (!response.ok || response.body === null) return changed({ state: "failed", message: await messageOf(response) });
    const predicted = response.headers.get("x-warmpath-cached-tokens");
    changed({ replica: response.headers.get("x-warmpath-replica"), predictedTokens: predicted === null ? null : Number(predicted) });
    for await (const line of new SseLines(response.body)) {
      for (const event of turnEvents(line)) {
        if (event.type === "error") failure = event.message;
        if (event.type === "usage") changed({ promptTokens: event.promptTokens, cachedTokens: event.cachedTokens });
        if (event.type !== "text") continue;
        if (answer === "") changed({ ttftMs: performance.now() - begunMs });
        answer += event.text;
        changed({ answer });
      }
    }
    changed(failure === null ? { state: "done" } : { state: "failed", message: failure });
    changed({ coldMs: await coldMsOf(key, response.headers.get("x-request-id")) });
  } catch {
    changed(signal.aborted ? { state: "stopped" } : { state: "failed", message: "The connection to the edge broke off." });
  }
}
