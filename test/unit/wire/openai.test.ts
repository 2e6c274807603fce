import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { z } from "zod";
import { parseChatRequest } from "../../../src/wire/openai.ts";

// As in workerd, where zod may not compile code.
z.config({ jitless: true });

const user = { role: "user", content: "hi" };
const tool = { type: "function", function: { name: "f", parameters: { type: "object" } } };
const nest = (depth: number): unknown => JSON.parse(`${"[".repeat(depth)}${"]".repeat(depth)}`);

const nothing = {
  api: "chat",
  toolChoice: null,
  laterTools: [],
  allowedTools: null,
  schemaPaths: new Map(),
  formatPath: null,
  parallelToolCalls: true,
  responseFormat: { type: "text" },
  reasoningEffort: null,
  stream: false,
  includeUsage: false,
  maxTokens: null,
  temperature: null,
  topP: null,
  seed: null,
  presencePenalty: 0,
  frequencyPenalty: 0,
  logitBias: new Map(),
  logprobs: null,
  stop: [],
  n: 1,
  echo: false,
  session: null,
  responses: null,
};

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
    n: 8,
    logprobs: true,
    top_logprobs: 3,
    logit_bias: { "7": -100, "8": 0 },
    presence_penalty: -2,
    frequency_penalty: 2,
    parallel_tool_calls: false,
    reasoning_effort: "low",
    response_format: { type: "json_schema", json_schema: { name: "n", schema: {}, strict: true } },
    modalities: ["text"],
    prediction: { type: "content", content: "" },
    user: "u",
    metadata: { any: [1] },
    unheard_of: {},
  };
  const parsed = parseChatRequest(body);
  expect(parsed).toEqual({
    ok: true,
    request: {
      ...nothing,
      model: "demo",
      prompt: { messages, tools: [tool] },
      toolChoice: { name: "f" },
      schemaPaths: new Map([["f", "tools[0].function.parameters"]]),
      parallelToolCalls: false,
      responseFormat: { type: "json_schema", name: "n", schema: {}, strict: true },
      reasoningEffort: "low",
      stream: true,
      includeUsage: true,
      maxTokens: 7,
      temperature: 0,
      topP: 1,
      seed: -3,
      presencePenalty: -2,
      frequencyPenalty: 2,
      logitBias: new Map([[7, -100]]),
      logprobs: 3,
      stop: ["x"],
      n: 8,
      session: "u",
    },
  });
  expect(parsed.ok && "messages" in parsed.request.prompt && parsed.request.prompt.messages).toBe(messages);
});

test("the least, and nulls for what is left open", () => {
  const request = { ...nothing, model: "m", prompt: { messages: [user], tools: [] } };
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
    logprobs: null,
    top_logprobs: null,
    logit_bias: null,
    presence_penalty: null,
    frequency_penalty: null,
    parallel_tool_calls: null,
    reasoning_effort: null,
    response_format: null,
    modalities: null,
    audio: null,
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
])("takes message %#, media where the engine takes them", (message) => {
  expect(parseChatRequest({ model: "m", messages: [message] }, undefined, { media: true }).ok).toBe(true);
});

const tool2 = { type: "function", function: { name: "g" } };
const mcp = { tools: [tool], tool_choice: { type: "allowed_tools", allowed_tools: { mode: "required", tools: [{ type: "mcp" }] } } };
const only = (name: string): object => ({ type: "function", function: { name } });
test.each<[object, string, string[]]>([
  [{ mode: "auto", tools: [only("f"), only("g")] }, "auto", ["f", "g"]],
  [{ mode: "auto", tools: [only("f")] }, "auto", ["f"]],
  [{ mode: "required", tools: [only("g")] }, "required", ["g"]],
])("allowed tools %#: all are in the prompt", (allowed, toolChoice, allowedTools) => {
  const tools = [tool, tool2];
  const body = { model: "m", messages: [user], tools, tool_choice: { type: "allowed_tools", allowed_tools: allowed } };
  expect(parseChatRequest(body)).toMatchObject({ ok: true, request: { prompt: { tools }, toolChoice, allowedTools } });
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
  [{ top_p: -0.1 }, "top_p", /at least 0/],
  [{ top_p: 1.01 }, "top_p", /at most 1/],
  [{ seed: 0.5 }, "seed", /an integer/],
  [{ stop: ["a", "b", "c", "d", "e"] }, "stop", /up to 4/],
  [{ stop: 4 }, "stop", /a string or an array/],
  [{ n: 9 }, "n", /at most 8/],
  [{ n: 0 }, "n", /at least 1/],
  [{ top_logprobs: 2 }, "top_logprobs", /needs `logprobs: true`/],
  [{ logprobs: true, top_logprobs: 21 }, "top_logprobs", /at most 20/],
  [{ logprobs: 3 }, "logprobs", /true or false/],
  [{ logit_bias: [] }, "logit_bias", /an object of token ids/],
  [{ logit_bias: { a: 1 } }, "logit_bias.a", /no token id/],
  [{ logit_bias: { "5": "x" } }, "logit_bias.5", /a number from -100 to 100, but is a string/],
  [{ logit_bias: { "5": 101 } }, "logit_bias.5", /from -100 to 100/],
  [{ presence_penalty: 3 }, "presence_penalty", /at most 2/],
  [{ frequency_penalty: -3 }, "frequency_penalty", /at least -2/],
  [{ parallel_tool_calls: 1 }, "parallel_tool_calls", /true or false/],
  [{ reasoning_effort: "huge" }, "reasoning_effort", /one of 'none', 'minimal'/],
  [{ response_format: "json" }, "response_format", /an object/],
  [{ response_format: { type: "xml" } }, "response_format.type", /'xml'; use one of/],
  [{ response_format: { type: "json_schema" } }, "response_format.json_schema", /missing/],
  [{ response_format: { type: "json_schema", json_schema: { name: "a b", schema: {} } } }, "response_format.json_schema.name", /letters/],
  [{ response_format: { type: "json_schema", json_schema: { name: "a", schema: 5 } } }, "response_format.json_schema.schema", /Schema/],
  [{ modalities: ["text", "audio"] }, "modalities[1]", /writes text only/],
  [{ audio: { voice: "x" } }, "audio", /not supported/],
  [{ web_search_options: {} }, "web_search_options", /not supported/],
  [{ function_call: "auto" }, "function_call", /use `tool_choice`/],
  [{ messages: [{ role: "function", name: "f", content: "x" }] }, "messages[0].role", /deprecated.*use 'tool'/],
  [{ messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "u" } }] }] }, "messages[0].content[0]", /images are not/],
  [
    { messages: [user, { role: "user", content: [{ type: "input_audio", input_audio: { data: "d", format: "wav" } }] }] },
    "messages[1].content[0]",
    /sound is not/,
  ],
  [{ messages: [{ role: "user", content: [{ type: "file", file: { file_id: "f" } }] }] }, "messages[0].content[0]", /files are not/],
  [
    { tools: [tool], tool_choice: { type: "custom", custom: { name: "x" } } },
    "tool_choice.type",
    /'custom', a tool this model cannot call/,
  ],
  [mcp, "tool_choice.allowed_tools.tools", /calls functions only/],
  [
    { tools: [tool], tool_choice: { type: "allowed_tools", allowed_tools: { mode: "auto", tools: [only("h")] } } },
    "tool_choice.allowed_tools.tools[0].function.name",
    /not in `tools`/,
  ],
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

test("the golden vectors' prompts are valid requests", () => {
  const file = readFileSync(new URL("../../vectors/hash-chain.json", import.meta.url), "utf8");
  const { vectors } = JSON.parse(file) as { vectors: { model: string; prompt: object }[] };
  for (const { model, prompt } of vectors) expect(parseChatRequest({ model, ...prompt }, undefined, { media: true }).ok).toBe(true);
});
