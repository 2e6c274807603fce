/** One turn of the chat: the question, the answer as it comes, and how it was served. */
import { SseLines } from "../../sse-lines.ts";
import { ask, headersOf, messageOf } from "./api.ts";
import { type ApiName, APIS, type Message, turnEvents } from "./chat-api.ts";
import { type Candidate, coldMs } from "./cold.ts";

/** A small model may never end by itself. */
export const MOST_OUTPUT_TOKENS = 512;
/** An answer of that many tokens is far below; a longer one is not shown to its end. */
const MOST_ANSWER_CHARACTERS = 100_000;
const MOST_TURN_MS = 600_000;

export interface Turn {
  asked: string;
  answer: string;
  api: ApiName;
  model: string;
  /** `cut`: the answer reached the most output tokens. `stopped`: by the user. */
  state: "running" | "done" | "cut" | "stopped" | "failed";
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

export const freshTurn = (asked: string, api: ApiName, model: string): Turn => ({
  asked,
  answer: "",
  api,
  model,
  state: "running",
  ...UNKNOWN,
});

/** The conversation as the APIs take it. A turn that failed before its answer began is left out: the APIs take no empty answer. */
export function messagesOf(turns: readonly Turn[], asked: string): Message[] {
  const before = turns
    .filter(({ answer }) => answer !== "")
    .flatMap((turn): Message[] => [
      { role: "user", content: turn.asked },
      { role: "assistant", content: turn.answer },
    ]);
  return [...before, { role: "user", content: asked }];
}

interface DecisionBody {
  attempts: { candidates: Candidate[]; decision: { chosen: number | null } }[];
}

async function coldMsOf(key: string, requestId: string | null): Promise<number | null> {
  if (requestId === null) return null;
  const told = await ask<DecisionBody>(key, `/v1/decisions/${encodeURIComponent(requestId)}`);
  const last = told.ok ? told.value.attempts.at(-1) : undefined;
  return last === undefined ? null : coldMs(last.candidates, last.decision.chosen);
}

/** How the stream ended, if it did not simply end. */
type Ending = { state: "done" | "cut" } | { state: "failed"; message: string };

/** Reads a stream to its end. */
async function readAnswer(
  api: ApiName,
  body: ReadableStream<Uint8Array>,
  changed: (part: Partial<Turn>) => void,
  begunMs: number,
): Promise<Ending> {
  let answer = "";
  let ending: Ending = { state: "done" };
  for await (const line of new SseLines(body)) {
    for (const event of turnEvents(api, line)) {
      if (event.type === "error") ending = { state: "failed", message: event.message };
      if (event.type === "cut") ending = { state: "cut" };
      if (event.type === "usage") changed({ promptTokens: event.promptTokens, cachedTokens: event.cachedTokens });
      if (event.type !== "text") continue;
      if (answer === "") changed({ ttftMs: performance.now() - begunMs });
      answer += event.text;
      changed({ answer });
      if (answer.length > MOST_ANSWER_CHARACTERS) return { state: "failed", message: "The answer is longer than this page shows." };
    }
  }
  return ending;
}

/**
 * Runs one turn to its end; never rejects.
 *
 * @param changed called with what is new of the turn.
 * @param signal stops it.
 */
export async function runTurn(
  key: string,
  { api, model }: Pick<Turn, "api" | "model">,
  messages: readonly Message[],
  changed: (part: Partial<Turn>) => void,
  signal: AbortSignal,
): Promise<void> {
  const begunMs = performance.now();
  const tooLong = AbortSignal.timeout(MOST_TURN_MS);
  try {
    const body = JSON.stringify(APIS[api].body(model, messages, MOST_OUTPUT_TOKENS));
    const headers = { ...headersOf(key), "content-type": "application/json" };
    const response = await fetch(APIS[api].path, { method: "POST", headers, body, signal: AbortSignal.any([signal, tooLong]) });
    if (!response.ok || response.body === null) return changed({ state: "failed", message: await messageOf(response) });
    const predicted = response.headers.get("x-warmpath-cached-tokens");
    changed({ replica: response.headers.get("x-warmpath-replica"), predictedTokens: predicted === null ? null : Number(predicted) });
    changed(await readAnswer(api, response.body, changed, begunMs));
    changed({ coldMs: await coldMsOf(key, response.headers.get("x-request-id")) });
  } catch {
    if (signal.aborted) changed({ state: "stopped" });
    else if (tooLong.aborted) changed({ state: "failed", message: "The answer took longer than 10 minutes." });
    else changed({ state: "failed", message: "The connection to the edge broke off." });
  }
}
