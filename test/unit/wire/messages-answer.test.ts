import type Anthropic from "@anthropic-ai/sdk";
import { expect, test } from "vitest";
import { message, MessageStream } from "../../../src/wire/messages-answer.ts";
import { finished, head, PLAIN, RICH, sseEvents, STARTED, USAGE, wholeOf, written } from "./answers.ts";

const input = { input_tokens: 2, cache_read_input_tokens: 8, cache_creation_input_tokens: 0 };

test("a whole answer is Anthropic's type", () => {
  const body: Anthropic.Message = message(head, wholeOf(RICH));
  expect(body).toMatchObject({
    id: "msg_1",
    type: "message",
    role: "assistant",
    content: [
      { type: "thinking", thinking: "Let me see" },
      { type: "text", text: "Looking." },
      { type: "tool_use", id: "call_1", name: "find", input: { q: "a" } },
      { type: "tool_use", id: "call_2", name: "list", input: {} },
    ],
    stop_reason: "tool_use",
    stop_sequence: null,
    usage: { ...input, output_tokens: 9, output_tokens_details: { thinking_tokens: 2 } },
  });
});

test.each([
  ["stop", null, "end_turn"],
  ["stop", "END", "stop_sequence"],
  ["length", null, "max_tokens"],
] as const)("%s with %s is %s", (reason, stopText, wanted) => {
  const events = [STARTED, { type: "text", choice: 0, text: "a", logprobs: null }, finished(reason, 0, stopText), USAGE] as const;
  expect(message(head, wholeOf(events))).toMatchObject({ stop_reason: wanted, stop_sequence: stopText });
  const delta = written(new MessageStream(head), events).at(-2)?.data;
  expect(delta).toMatchObject({ type: "message_delta", delta: { stop_reason: wanted, stop_sequence: stopText } });
});

test("arguments that were cut off are no input", () => {
  const events = [
    STARTED,
    { type: "tool_call", choice: 0, index: 0, id: "c", name: "f" },
    { type: "tool_arguments", choice: 0, index: 0, text: '{"a' },
    finished("length"),
    USAGE,
  ] as const;
  expect(message(head, wholeOf(events))).toMatchObject({ content: [{ type: "tool_use", input: {} }], stop_reason: "max_tokens" });
});

test("events: start with the input's tokens, blocks one after another, the names twice", () => {
  const events = written(new MessageStream(head), RICH);
  for (const { name, data } of events) expect((data as { type: string }).type).toBe(name);
  const data = events.map((event) => event.data as Anthropic.RawMessageStreamEvent | { type: "ping" });
  expect(data[0]).toMatchObject({
    type: "message_start",
    message: { content: [], stop_reason: null, usage: { ...input, output_tokens: 0 } },
  });
  const short = data.slice(1).map((event) => {
    if (event.type === "content_block_start") return `start ${event.index} ${event.content_block.type}`;
    if (event.type === "content_block_delta") return `delta ${event.index} ${event.delta.type}`;
    return event.type === "content_block_stop" ? `stop ${event.index}` : event.type;
  });
  expect(short).toEqual([
    "ping",
    "start 0 thinking",
    "delta 0 thinking_delta",
    "delta 0 thinking_delta",
    "delta 0 signature_delta",
    "stop 0",
    "start 1 text",
    "delta 1 text_delta",
    "delta 1 text_delta",
    "stop 1",
    "start 2 tool_use",
    "delta 2 input_json_delta",
    "delta 2 input_json_delta",
    "stop 2",
    "start 3 tool_use",
    "delta 3 input_json_delta",
    "stop 3",
    "message_delta",
    "message_stop",
  ]);
  expect(data.at(-2)).toMatchObject({ delta: { stop_reason: "tool_use" }, usage: { ...input, output_tokens: 9 } });
});

test("an answer of text only, and a failure", () => {
  expect(written(new MessageStream(head), PLAIN).map(({ name }) => name)).toEqual([
    "message_start",
    "ping",
    "content_block_start",
    "content_block_delta",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
  ]);
  expect(sseEvents(new MessageStream(head).fail({ code: "replica_lost", status: 502, message: "gone", param: null }))).toEqual([
    { name: "error", data: { type: "error", error: { type: "api_error", message: "gone" }, request_id: "req_p_1" } },
  ]);
});
