/** Answers and requests for the writers' tests. */
import type { AnswerEvent, AnswerHead, AnswerStream } from "../../../src/wire/answer-event.ts";
import type { InnerRequest } from "../../../src/wire/inner.ts";
import type { ApiName } from "../../../src/wire/api-table.ts";
import { plainRequest } from "../../../src/wire/settings.ts";
import { WholeAnswer } from "../../../src/wire/whole-answer.ts";

export const head: AnswerHead = { requestId: "req_p_1", createdS: 7, model: "demo" };

export function asked(api: ApiName, changes: Partial<InnerRequest> = {}): InnerRequest {
  return { ...plainRequest(api, "demo", { messages: [{ role: "user", content: "hi" }], tools: [] }, null), ...changes };
}

const logprob = (token: string) => ({ token, bytes: [...Buffer.from(token)], logprob: -0.5 });
export const logprobs = (...tokens: string[]) => tokens.map((token) => ({ ...logprob(token), top: [logprob(token), logprob("x")] }));

export const STARTED: AnswerEvent = { type: "started", promptTokens: 10, cachedTokens: 8 };
export const USAGE: AnswerEvent = { type: "usage", usage: { promptTokens: 10, cachedTokens: 8, outputTokens: 9, reasoningTokens: 2 } };
export const finished = (reason: "stop" | "length" | "tool_calls", choice = 0, stopText: string | null = null): AnswerEvent => ({
  type: "finished",
  choice,
  reason,
  stopText,
});

/** Thinks, says something, calls two tools. */
export const RICH: readonly AnswerEvent[] = [
  STARTED,
  { type: "reasoning", choice: 0, text: "Let me" },
  { type: "reasoning", choice: 0, text: " see" },
  { type: "text", choice: 0, text: "Look", logprobs: null },
  { type: "text", choice: 0, text: "ing.", logprobs: null },
  { type: "tool_call", choice: 0, index: 0, id: "call_1", name: "find" },
  { type: "tool_arguments", choice: 0, index: 0, text: '{"q":' },
  { type: "tool_arguments", choice: 0, index: 0, text: '"a"}' },
  { type: "tool_call", choice: 0, index: 1, id: "call_2", name: "list" },
  { type: "tool_arguments", choice: 0, index: 1, text: "{}" },
  finished("tool_calls"),
  USAGE,
];

export const PLAIN: readonly AnswerEvent[] = [
  STARTED,
  { type: "text", choice: 0, text: "Hel", logprobs: null },
  { type: "text", choice: 0, text: "lo", logprobs: null },
  finished("stop"),
  USAGE,
];

export function wholeOf(events: readonly AnswerEvent[]): WholeAnswer {
  const answer = new WholeAnswer();
  for (const event of events) answer.add(event);
  return answer;
}

export interface SseEvent {
  name: string | null;
  data: unknown;
}

/** Drives a writer as the replica does. */
export function written(stream: AnswerStream, events: readonly AnswerEvent[]): SseEvent[] {
  let text = "";
  let first = true;
  for (const event of events) {
    if (first && event.type !== "started") {
      text += stream.open();
      first = false;
    }
    text += stream.event(event);
  }
  return sseEvents(text + stream.close());
}

export function sseEvents(text: string): SseEvent[] {
  return text
    .split("\n\n")
    .filter((block) => block !== "" && !block.startsWith(":"))
    .map((block) => {
      const name = /^event: (.*)$/m.exec(block)?.[1] ?? null;
      const data = /^data: (.*)$/m.exec(block)?.[1] ?? "";
      return { name, data: data === "[DONE]" ? data : JSON.parse(data) };
    });
}
