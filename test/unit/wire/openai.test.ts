import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { z } from "zod";
import { apiError } from "../../../src/errors.ts";
import { decodeJsonBody, openaiErrorBody, parseChatRequest } from "../../../src/wire/openai.ts";

// As in workerd, where zod may not compile code.
z.config({ jitless: true });

const user = { role: "user", content: "hi" };
const tool = { type: "function", function: { name: "f", parameters: { type: "object" } } };
const nest = (depth: number): unknown => JSON.parse(`${"[".repeat(depth)}${"]".repeat(depth)}`);

test("a full request", () => {
  const messages = [{ role: "system", content: "s" }, user];
  const body = {
    model: "demo",
    messages,
    tools: [tool],
    tool_choice: { type: "function", function: { name: "f" } },
    stream: true,
    stream_options: { include_usage: true },
    max_tokens: 5,
    max_completion_tokens: 7,
    temperature: 0,
    top_p: 1,
    seed: -3,
    stop: "x",
    n: 1,
    user: "u",
    metadata: { any: [1] },
    unheard_of: {},
  };
  const parsed = parseChatRequest(body);
  expect(parsed).toEqual({
    ok: true,
    request: {
      model: "demo",
      prompt: { messages, tools: [tool] },
      toolChoice: { name: "f" },
      stream: true,
      includeUsage: true,
      maxTokens: 7,
      temperature: 0,
      topP: 1,
      seed: -3,
      stop: ["x"],
    },
  });
  expect(parsed.ok && parsed.request.prompt.messages).toBe(messages);
});

test("the least, and nulls for what is left open", () => {
  const nothing = {
    toolChoice: null,
    stream: false,
    includeUsage: false,
    maxTokens: null,
    temperature: null,
    topP: null,
    seed: null,
    stop: [],
  };
  const request = { model: "m", prompt: { messages: [user], tools: [] }, ...nothing };
  expect(parseChatRequest({ model: "m", messages: [user] })).toEqual({ ok: true, request });
  const nulls = {
    tools: null,
    tool_choice: null,
    stream: null,
    stream_options: null,
    max_tokens: null,
    temperature: null,
    top_p: null,
    seed: null,
    stop: null,
    n: null,
  };
  expect(parseChatRequest({ model: "m", messages: [user], ...nulls })).toEqual({ ok: true, request });
});

test.each([
  [user],
  [{ role: "developer", content: "d" }],
  [{ role: "assistant", content: null, tool_calls: [{ id: "c", type: "function", function: { name: "f", arguments: "" } }] }],
  [{ role: "assistant", tool_calls: [{ id: "c", function: { name: "f", arguments: "" } }] }],
  [{ role: "assistant", content: "a", tool_calls: null, refusal: null, audio: null, function_call: null }],
  [{ role: "tool", tool_call_id: "c", content: [{ type: "text", text: "t" }] }],
  [
    {
      role: "user",
      name: "Al",
      content: [
        { type: "image_url", image_url: { url: "u" } },
        { type: "input_audio", input_audio: { data: "d", format: "wav" } },
      ],
    },
  ],
  [
    {
      role: "user",
      content: [
        { type: "file", file: { file_id: "f" } },
        { type: "text", text: "", cache_control: {} },
      ],
    },
  ],
])("takes message %#", (message) => {
  expect(parseChatRequest({ model: "m", messages: [message] }).ok).toBe(true);
});

const call = { id: "c", type: "function", function: { name: "f", arguments: "{}" } };
test.each<[object, string | null, RegExp]>([
  [{ model: undefined }, "model", /must be a string.*missing/],
  [{ model: "" }, "model", /must not be empty/],
  [{ messages: undefined }, "messages", /missing/],
  [{ messages: [] }, "messages", /at least one message, but is an empty array/],
  [{ messages: "hi" }, "messages", /a string/],
  [{ messages: [null] }, "messages[0]", /object/],
  [{ messages: [{ content: "x" }] }, "messages[0].role", /missing/],
  [
    { messages: [user, { role: "robot", content: "x" }] },
    "messages[1].role",
    /'robot'.*'system', 'developer', 'user', 'assistant', 'tool'/,
  ],
  [{ messages: [{ role: "user", content: null }] }, "messages[0].content", /null/],
  [{ messages: [{ role: "user", content: 5 }] }, "messages[0].content", /a number/],
  [{ messages: [{ role: "user", content: [] }] }, "messages[0].content", /at least one part/],
  [{ messages: [{ role: "assistant" }] }, "messages[0].content", /unless `tool_calls`/],
  [{ messages: [{ role: "user", content: ["x"] }] }, "messages[0].content[0]", /object with `type`/],
  [{ messages: [{ role: "user", content: [{ type: "text" }] }] }, "messages[0].content[0].text", /missing/],
  [{ messages: [{ role: "user", content: [{ type: "video" }] }] }, "messages[0].content[0].type", /'video'; use one of 'text'/],
  [{ messages: [{ role: "user", content: [{ type: "image_url", image_url: "u" }] }] }, "messages[0].content[0].image_url", /an object/],
  [{ messages: [{ role: "user", content: [{ type: "image_url", image_url: {} }] }] }, "messages[0].content[0].image_url.url", /a string/],
  [{ messages: [{ role: "user", content: "x", name: 1 }] }, "messages[0].name", /a string/],
  [{ messages: [{ role: "user", content: "x", tool_calls: [call] }] }, "messages[0].tool_calls", /'assistant' only/],
  [{ messages: [{ role: "assistant", content: null, tool_calls: [] }] }, "messages[0].tool_calls", /at least one/],
  [
    { messages: [{ role: "assistant", tool_calls: [{ ...call, function: { name: "f", arguments: {} } }] }] },
    "messages[0].tool_calls[0].function.arguments",
    /a string/,
  ],
  [{ messages: [{ role: "assistant", content: "x", function_call: {} }] }, "messages[0].function_call", /use `tool_calls`/],
  [{ messages: [{ role: "tool", content: "x" }] }, "messages[0].tool_call_id", /missing/],
  [{ tools: {} }, "tools", /an array/],
  [{ tools: [{ type: "web_search" }] }, "tools[0].type", /'function'/],
  [{ tools: [{ type: "function" }] }, "tools[0].function", /missing/],
  [{ tools: [{ type: "function", function: { name: "" } }] }, "tools[0].function.name", /empty/],
  [{ tools: [{ type: "function", function: { name: "f", parameters: [] } }] }, "tools[0].function.parameters", /Schema/],
  [{ tool_choice: "always" }, "tool_choice", /'none', 'auto'/],
  [{ tool_choice: "required" }, "tool_choice", /add `tools`/],
  [{ tools: [tool], tool_choice: { type: "function", function: { name: "g" } } }, "tool_choice.function.name", /not in `tools`/],
  [{ stream: "yes" }, "stream", /true or false, but is a string/],
  [{ stream_options: 1 }, "stream_options", /object/],
  [{ stream_options: { include_usage: 1 } }, "stream_options.include_usage", /true or false/],
  [{ max_tokens: 0 }, "max_tokens", /at least 1/],
  [{ max_tokens: 1.5 }, "max_tokens", /an integer/],
  [{ max_completion_tokens: "9" }, "max_completion_tokens", /an integer.*a string/],
  [{ temperature: 2.1 }, "temperature", /at most 2/],
  [{ temperature: -1 }, "temperature", /at least 0/],
  [{ top_p: 0 }, "top_p", /above 0/],
  [{ top_p: 1.01 }, "top_p", /at most 1/],
  [{ seed: 0.5 }, "seed", /an integer/],
  [{ stop: ["a", "b", "c", "d", "e"] }, "stop", /up to 4/],
  [{ stop: 4 }, "stop", /a string or an array/],
  [{ n: 2 }, "n", /must be 1/],
  [{ functions: [] }, "functions", /use `tools`/],
  [{ metadata: nest(20_000) }, "metadata[0][0][0]", /deeper than 64/],
  [
    { tools: [{ type: "function", function: { name: "f", parameters: { x: nest(20_000) } } }] },
    "tools[0].function.parameters",
    /deeper than 64/,
  ],
  [{ messages: [{ role: "user", content: nest(20_000) }] }, "messages[0].content[0]", /deeper than 64/],
])("refuses %#: param %s", (fields, param, message) => {
  const parsed = parseChatRequest({ model: "m", messages: [user], ...fields });
  if (parsed.ok) throw new Error("was taken");
  expect(parsed.error).toMatchObject({ code: "invalid_request", status: 400, param });
  expect(parsed.error.message).toMatch(message);
  expect(parsed.error.message).toContain(`\`${param}\``);
});

test("nesting: 64 levels pass, 65 do not", () => {
  expect(parseChatRequest({ model: "m", messages: [user], x: nest(63) }).ok).toBe(true);
  expect(parseChatRequest({ model: "m", messages: [user], x: nest(64) }).ok).toBe(false);
});

test.each([null, [], "x", 5, undefined])("a body that is no object: %j", (body) => {
  expect(parseChatRequest(body)).toMatchObject({ ok: false, error: { status: 400, param: null } });
});

test("a long or odd role is not echoed whole", () => {
  const parsed = parseChatRequest({ model: "m", messages: [{ role: `a\n${"b".repeat(5000)}`, content: "" }] });
  expect(!parsed.ok && parsed.error.message.length).toBeLessThan(200);
});

test("bodies: JSON, broken JSON with a position, broken UTF-8, nothing", () => {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
  const message = (body: Uint8Array): string | null => {
    const decoded = decodeJsonBody(body, decoder);
    return decoded.ok ? null : decoded.error.message;
  };
  expect(decodeJsonBody(bytes('{"a":1}'), decoder)).toEqual({ ok: true, value: { a: 1 } });
  expect(message(bytes('{"a":1'))).toMatch(/valid JSON/);
  expect(message(bytes('{"secret words": 1 "b"}'))).toMatch(/at character 19/);
  expect(message(bytes('{"secret words": oh no}'))).not.toMatch(/secret|oh no/);
  expect(message(Uint8Array.of(0x22, 0xff, 0x22))).toMatch(/UTF-8/);
  expect(message(new Uint8Array())).toMatch(/empty/);
  expect(decodeJsonBody(bytes("[".repeat(20_000) + "]".repeat(20_000)), decoder).ok).toBe(true);
});

test("the error envelope has OpenAI's four keys and codes", () => {
  expect(openaiErrorBody(apiError("invalid_request", "m", "n"))).toEqual({
    error: { message: "m", type: "invalid_request_error", param: "n", code: null },
  });
  expect(openaiErrorBody(apiError("invalid_api_key", "m")).error).toMatchObject({
    type: "invalid_request_error",
    code: "invalid_api_key",
    param: null,
  });
  expect(openaiErrorBody(apiError("overloaded", "m")).error.type).toBe("server_error");
});

test("the golden vectors' prompts are valid requests", () => {
  const file = readFileSync(new URL("../../vectors/hash-chain.json", import.meta.url), "utf8");
  const { vectors } = JSON.parse(file) as { vectors: { model: string; prompt: object }[] };
  for (const { model, prompt } of vectors) expect(parseChatRequest({ model, ...prompt }).ok).toBe(true);
});
