import { describe, expect, it } from "vitest";
import { freshTurn, messagesOf } from "../../../workers/console/page/chat-turn.ts";
import { type Candidate, coldMs } from "../../../workers/console/page/cold.ts";
import { turnEvents } from "../../../workers/console/page/turn-event.ts";
import { count, counted, time } from "../../../workers/console/page/words.ts";

const COLD = { name: "a", cachedTokens: 0, uncachedTokens: 1_000, predictedTtftMs: 500, terms: { prefillMs: 400 }, barred: null };
const candidate = (said: Partial<Candidate>): Candidate => ({ ...COLD, ...said });

describe("the time of a cold turn", () => {
  const warm = candidate({ name: "warm", cachedTokens: 900, uncachedTokens: 100, predictedTtftMs: 60, terms: { prefillMs: 40 } });

  it("is the least predicted for a replica that holds nothing and could have taken it", () => {
    const slow = candidate({ predictedTtftMs: 700 });
    const full = candidate({ predictedTtftMs: 100, barred: "full" });
    expect(coldMs([warm, slow, full, candidate({})], 0)).toBe(500);
  });

  it("is the chosen replica's with its prefill for the whole prompt, where each holds something", () => {
    expect(coldMs([warm], 0)).toBe(60 + 40 * 9);
  });

  it("is unknown where nobody was chosen or nothing was computed", () => {
    expect(coldMs([warm], null)).toBeNull();
    expect(coldMs([{ ...warm, uncachedTokens: 0 }], 0)).toBeNull();
    expect(coldMs([], null)).toBeNull();
  });
});

describe("a line of the answer's stream", () => {
  it("brings text, usage, an error, or nothing", () => {
    expect(turnEvents('data: {"choices":[{"delta":{"content":"Hi"}}],"usage":null}')).toEqual([{ type: "text", text: "Hi" }]);
    expect(turnEvents('data: {"choices":[{"delta":{"role":"assistant","content":""}}]}')).toEqual([]);
    const usage = { prompt_tokens: 90, completion_tokens: 7, prompt_tokens_details: { cached_tokens: 64 } };
    expect(turnEvents(`data: ${JSON.stringify({ choices: [], usage })}\r`)).toEqual([
      { type: "usage", promptTokens: 90, cachedTokens: 64, outputTokens: 7 },
    ]);
    expect(turnEvents('data: {"error":{"message":"The replica is gone."}}')).toEqual([{ type: "error", message: "The replica is gone." }]);
    for (const nothing of ["data: [DONE]", ": waits", "event: message"]) expect(turnEvents(nothing)).toEqual([]);
  });
});

it("a conversation has each turn that was answered, and the new question last", () => {
  const turns = [
    { ...freshTurn("one"), answer: "1" },
    freshTurn("failed"),
    { ...freshTurn("two"), answer: "2", state: "stopped" as const },
  ];
  const said = messagesOf(turns, "three").map(({ role, content }) => `${role} ${content}`);
  expect(said).toEqual(["user one", "assistant 1", "user two", "assistant 2", "user three"]);
});

it("numbers are written for people", () => {
  expect([time(8.44), time(120.4), time(2_060)]).toEqual(["8.4 ms", "120 ms", "2.1 s"]);
  expect([count(12_345), counted(1, "request"), counted(3, "request")]).toEqual(["12,345", "1 request", "3 requests"]);
});
