import { describe, expect, it } from "vitest";
import { API_NAMES, APIS, turnEvents } from "../../../workers/console/page/chat-api.ts";
import { freshTurn, messagesOf } from "../../../workers/console/page/chat-turn.ts";
import { type Candidate, coldMs } from "../../../workers/console/page/cold.ts";
import { isFull, keepTurns, keptTurns, MOST_CHARACTERS, MOST_TURNS } from "../../../workers/console/page/kept-turns.ts";
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

describe("a line of an answer's stream", () => {
  const data = (event: object): string => `data: ${JSON.stringify(event)}\r`;
  const USAGE = { type: "usage", promptTokens: 90, cachedTokens: 64 };

  it("of chat completions brings text, usage, an end by length, an error, or nothing", () => {
    const say = (event: object) => turnEvents("chat", data(event));
    expect(say({ choices: [{ delta: { content: "Hi" } }], usage: null })).toEqual([{ type: "text", text: "Hi" }]);
    expect(say({ choices: [{ delta: { role: "assistant", content: "" } }] })).toEqual([]);
    const usage = { prompt_tokens: 90, completion_tokens: 7, prompt_tokens_details: { cached_tokens: 64 } };
    expect(say({ choices: [], usage })).toEqual([USAGE]);
    expect(say({ choices: [{ delta: {}, finish_reason: "length" }] })).toEqual([{ type: "cut" }]);
    expect(say({ error: { message: "The replica is gone." } })).toEqual([{ type: "error", message: "The replica is gone." }]);
  });

  it("of responses does the same", () => {
    const say = (event: object) => turnEvents("responses", data(event));
    expect(say({ type: "response.output_text.delta", delta: "Hi" })).toEqual([{ type: "text", text: "Hi" }]);
    expect(say({ type: "response.output_text.done", text: "Hi" })).toEqual([]);
    const usage = { input_tokens: 90, output_tokens: 7, input_tokens_details: { cached_tokens: 64 } };
    expect(say({ type: "response.completed", response: { usage } })).toEqual([USAGE]);
    expect(say({ type: "response.incomplete", response: { usage } })).toEqual([{ type: "cut" }, USAGE]);
    expect(say({ type: "error", message: "Gone." })).toEqual([{ type: "error", message: "Gone." }]);
    expect(say({ type: "response.failed", response: { error: { message: "Gone." } } })).toEqual([{ type: "error", message: "Gone." }]);
  });

  it("of messages does the same, and counts cached tokens into the prompt", () => {
    const say = (event: object) => turnEvents("messages", data(event));
    expect(say({ type: "content_block_delta", delta: { type: "text_delta", text: "Hi" } })).toEqual([{ type: "text", text: "Hi" }]);
    expect(say({ type: "content_block_delta", delta: { type: "thinking_delta", thinking: "Hm" } })).toEqual([]);
    const usage = { input_tokens: 26, cache_read_input_tokens: 64, cache_creation_input_tokens: 0, output_tokens: 7 };
    expect(say({ type: "message_delta", delta: { stop_reason: "end_turn" }, usage })).toEqual([USAGE]);
    expect(say({ type: "message_delta", delta: { stop_reason: "max_tokens" }, usage })).toEqual([{ type: "cut" }, USAGE]);
    expect(say({ type: "error", error: { message: "Gone." } })).toEqual([{ type: "error", message: "Gone." }]);
  });

  it.each(API_NAMES)("without data brings nothing (%s)", (api) => {
    for (const line of ["data: [DONE]", ": waits", "event: message"]) expect(turnEvents(api, line)).toEqual([]);
  });
});

it("a request takes the API's own fields, and bounds the answer", () => {
  const messages = [{ role: "user" as const, content: "Hi" }];
  expect(APIS.chat.body("m", messages, 9)).toMatchObject({ model: "m", messages, stream: true, max_tokens: 9 });
  expect(APIS.responses.body("m", messages, 9)).toMatchObject({ input: messages, store: false, max_output_tokens: 9 });
  expect(APIS.messages.body("m", messages, 9)).toMatchObject({ messages, stream: true, max_tokens: 9 });
});

const fresh = (asked: string) => freshTurn(asked, "chat", "m");

it("a conversation has each turn that was answered, and the new question last", () => {
  const turns = [{ ...fresh("one"), answer: "1" }, fresh("failed"), { ...fresh("two"), answer: "2", state: "stopped" as const }];
  const said = messagesOf(turns, "three").map(({ role, content }) => `${role} ${content}`);
  expect(said).toEqual(["user one", "assistant 1", "user two", "assistant 2", "user three"]);
});

describe("the conversation that a tab keeps", () => {
  const storage = () => {
    const kept = new Map<string, string>();
    return {
      kept,
      getItem: (name: string) => kept.get(name) ?? null,
      setItem: (name: string, value: string) => void kept.set(name, value),
      removeItem: (name: string) => void kept.delete(name),
    };
  };

  it("is the same after a reload, and a turn that ran then was stopped by it", () => {
    const place = storage();
    const done = { ...fresh("one"), answer: "1", state: "done" as const, replica: "r", cachedTokens: 3, ttftMs: 1.5 };
    keepTurns([done, { ...fresh("two"), answer: "2" }], place);
    expect(keptTurns(place)).toEqual([done, { ...fresh("two"), answer: "2", state: "stopped" }]);
  });

  it("is none where there is none, or something that another version kept", () => {
    const place = storage();
    expect(keptTurns(place)).toEqual([]);
    const odd = [{ ...fresh("one"), api: "completions" }, { ...fresh("one"), answer: 1 }, { ...fresh("one"), ttftMs: "1" }, null, "text"];
    for (const text of ["{", "{}", ...odd.map((turn) => JSON.stringify([turn]))]) {
      place.kept.set("warmpath-conversation", text);
      expect([text, keptTurns(place)]).toEqual([text, []]);
    }
  });

  it("is forgotten, not cut, where the browser has no room", () => {
    const place = storage();
    place.kept.set("warmpath-conversation", "[]");
    const setItem = (): void => {
      throw new Error("QuotaExceededError");
    };
    keepTurns([fresh("one")], { ...place, setItem });
    expect(place.kept.size).toBe(0);
  });

  it("is full at a number of turns, and at a number of characters", () => {
    const turns = Array.from({ length: MOST_TURNS }, () => fresh("one"));
    expect([isFull(turns.slice(1)), isFull(turns)]).toEqual([false, true]);
    const long = { ...fresh("a".repeat(MOST_CHARACTERS / 2)), answer: "b".repeat(MOST_CHARACTERS / 2 - 1) };
    expect([isFull([long]), isFull([long, fresh("c")])]).toEqual([false, true]);
  });
});

it("numbers are written for people", () => {
  expect([time(8.44), time(120.4), time(2_060)]).toEqual(["8.4 ms", "120 ms", "2.1 s"]);
  expect([count(12_345), counted(1, "request"), counted(3, "request")]).toEqual(["12,345", "1 request", "3 requests"]);
});
