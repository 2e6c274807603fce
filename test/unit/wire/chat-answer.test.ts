import type OpenAI from "openai";
import { expect, test } from "vitest";
import { type ChatChunk, chatCompletion, ChatStream } from "../../../src/wire/chat-answer.ts";
import { asked, finished, head, logprobs, PLAIN, RICH, sseEvents, STARTED, USAGE, wholeOf, written } from "./answers.ts";

const usage = {
  prompt_tokens: 10,
  completion_tokens: 9,
  total_tokens: 19,
  prompt_tokens_details: { cached_tokens: 8 },
  completion_tokens_details: { reasoning_tokens: 2 },
};

test("a whole answer is OpenAI's type", () => {
  const body: OpenAI.ChatCompletion = chatCompletion(head, asked("chat"), wholeOf(RICH));
  expect(body).toEqual({
    id: "chatcmpl-1",
    object: "chat.completion",
    created: 7,
    model: "demo",
    choices: [
      {
        index: 0,
        message: {
          role: "assistant",
          content: "Looking.",
          reasoning_content: "Let me see",
          refusal: null,
          tool_calls: [
            { id: "call_1", type: "function", function: { name: "find", arguments: '{"q":"a"}' } },
            { id: "call_2", type: "function", function: { name: "list", arguments: "{}" } },
          ],
        },
        logprobs: null,
        finish_reason: "tool_calls",
      },
    ],
    usage,
  });
});

test("content is null only beside calls", () => {
  const call = wholeOf([STARTED, { type: "tool_call", choice: 0, index: 0, id: "c", name: "f" }, finished("tool_calls"), USAGE]);
  expect(chatCompletion(head, asked("chat"), call).choices[0]?.message.content).toBeNull();
  expect(chatCompletion(head, asked("chat"), wholeOf([STARTED, finished("stop"), USAGE])).choices[0]?.message.content).toBe("");
});

test("logprobs and several choices", () => {
  const tokens = logprobs("a", "b");
  const answer = wholeOf([
    STARTED,
    { type: "text", choice: 1, text: "b", logprobs: tokens.slice(1) },
    { type: "text", choice: 0, text: "a", logprobs: tokens.slice(0, 1) },
    finished("stop", 1),
    finished("length", 0),
    USAGE,
  ]);
  const body: OpenAI.ChatCompletion = chatCompletion(head, asked("chat", { logprobs: 2, n: 2 }), answer);
  expect(body.choices.map(({ index, message, finish_reason }) => [index, message.content, finish_reason])).toEqual([
    [0, "a", "length"],
    [1, "b", "stop"],
  ]);
  expect(body.choices[0]?.logprobs?.content).toEqual([
    {
      token: "a",
      bytes: [97],
      logprob: -0.5,
      top_logprobs: [
        { token: "a", bytes: [97], logprob: -0.5 },
        { token: "x", bytes: [120], logprob: -0.5 },
      ],
    },
  ]);
});

test("chunks: role first, choices last, usage only when asked for, then [DONE]", () => {
  const events = written(new ChatStream(head, asked("chat", { stream: true, includeUsage: true })), PLAIN);
  expect(events.at(-1)?.data).toBe("[DONE]");
  const chunks = events.slice(0, -1).map(({ data }) => data as ChatChunk satisfies OpenAI.ChatCompletionChunk);
  for (const chunk of chunks) expect(Object.keys(chunk).at(-1)).toBe("choices");
  expect(chunks.map(({ choices }) => choices[0]?.delta)).toEqual([
    { role: "assistant", content: "" },
    { content: "Hel" },
    { content: "lo" },
    {},
    undefined,
  ]);
  expect(chunks[1]?.usage).toBeNull();
  expect(chunks[3]?.choices[0]?.finish_reason).toBe("stop");
  expect(chunks[4]).toMatchObject({ usage, choices: [] });
  const silent = written(new ChatStream(head, asked("chat")), PLAIN);
  for (const { data } of silent) expect(data).not.toHaveProperty("usage");
});

test("chunks of reasoning and calls: id and name once, then arguments", () => {
  const events = written(new ChatStream(head, asked("chat")), RICH).slice(1, -2);
  expect(events.map(({ data }) => (data as ChatChunk).choices[0]?.delta)).toEqual([
    { reasoning_content: "Let me" },
    { reasoning_content: " see" },
    { content: "Look" },
    { content: "ing." },
    { tool_calls: [{ index: 0, id: "call_1", type: "function", function: { name: "find", arguments: "" } }] },
    { tool_calls: [{ index: 0, function: { arguments: '{"q":' } }] },
    { tool_calls: [{ index: 0, function: { arguments: '"a"}' } }] },
    { tool_calls: [{ index: 1, id: "call_2", type: "function", function: { name: "list", arguments: "" } }] },
    { tool_calls: [{ index: 1, function: { arguments: "{}" } }] },
  ]);
});

test("every choice has its role", () => {
  const opened = sseEvents(new ChatStream(head, asked("chat", { n: 3 })).open());
  expect(opened.map(({ data }) => (data as ChatChunk).choices[0])).toMatchObject([{ index: 0 }, { index: 1 }, { index: 2 }]);
});

test("a failure in the stream", () => {
  const [event] = sseEvents(new ChatStream(head, asked("chat")).fail({ code: "replica_lost", status: 502, message: "gone", param: null }));
  expect(event?.data).toEqual({ error: { message: "gone", type: "server_error", param: null, code: "replica_lost" } });
});
