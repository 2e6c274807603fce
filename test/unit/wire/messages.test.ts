/** What messages refuse, and by which path of the caller's own body; what they take beside the prompt. */
import { expect, test } from "vitest";
import { z } from "zod";
import type { ParsedRequest } from "../../../src/wire/inner.ts";
import { parseCountTokensRequest, parseMessagesRequest } from "../../../src/wire/messages.ts";

z.config({ jitless: true });

const nest = (depth: number): unknown => JSON.parse(`${"[".repeat(depth)}${"]".repeat(depth)}`);

function refusal(parsed: ParsedRequest, param: string, message: RegExp): void {
  if (parsed.ok) throw new Error("was taken");
  expect(parsed.error).toMatchObject({ code: "invalid_request", status: 400, param });
  expect(parsed.error.message).toMatch(message);
  expect(parsed.error.message).toContain(`\`${param}\``);
}

type Case = [fields: object, param: string, message: RegExp];

const user = { role: "user", content: "hi" };
const custom = { name: "f", input_schema: {} };
const message = (fields: object): ParsedRequest => parseMessagesRequest({ model: "m", max_tokens: 5, messages: [user], ...fields });
const blockOf = (block: unknown): object => ({ messages: [user, { role: "user", content: [block] }] });
const saysOf = (block: unknown): object => ({ messages: [user, { role: "assistant", content: [block] }] });
test.each<Case>([
  [{ model: "" }, "model", /not be empty/],
  [{ max_tokens: undefined }, "max_tokens", /an integer of at least 1, but is missing/],
  [{ max_tokens: 0 }, "max_tokens", /at least 1/],
  [{ messages: undefined }, "messages", /missing/],
  [{ messages: [] }, "messages", /an empty array/],
  [{ messages: ["x"] }, "messages[0]", /an object/],
  [{ messages: [{ role: "tool", content: "x" }] }, "messages[0].role", /'tool'; use one of 'user', 'assistant', 'system'/],
  [{ messages: [{ content: "x" }] }, "messages[0].role", /missing/],
  [{ messages: [{ role: "user" }] }, "messages[0].content", /missing/],
  [{ messages: [{ role: "user", content: [] }] }, "messages[0].content", /at least one block/],
  [{ system: 5 }, "system", /text blocks/],
  [{ system: [{ type: "image" }] }, "system[0].type", /'text' blocks only/],
  [{ system: [{ type: "text" }] }, "system[0].text", /missing/],
  [{ messages: [{ role: "system", content: [{ type: "tool_use" }] }] }, "messages[0].content[0].type", /'text' blocks only/],
  [blockOf(5), "messages[1].content[0]", /an object/],
  [blockOf({}), "messages[1].content[0].type", /missing/],
  [blockOf({ type: "text" }), "messages[1].content[0].text", /missing/],
  [blockOf({ type: "image", source: {} }), "messages[1].content[0]", /images are not supported/],
  [blockOf({ type: "document", source: {} }), "messages[1].content[0].source.type", /missing/],
  [blockOf({ type: "document", source: { type: "base64", data: "" } }), "messages[1].content[0]", /files are not supported/],
  [blockOf({ type: "document", source: { type: "text" } }), "messages[1].content[0].source.data", /missing/],
  [
    blockOf({ type: "document", source: { type: "content", content: [{ type: "image" }] } }),
    "messages[1].content[0].source.content[0]",
    /images are not supported/,
  ],
  [blockOf({ type: "document", source: { type: "text", data: "" }, title: 5 }), "messages[1].content[0].title", /a string/],
  [blockOf({ type: "search_result" }), "messages[1].content[0].content", /a string or an array of text blocks/],
  [blockOf({ type: "search_result", content: [], source: "s" }), "messages[1].content[0].title", /missing/],
  [blockOf({ type: "container_upload" }), "messages[1].content[0].type", /'container_upload'/],
  [blockOf({ type: "tool_use" }), "messages[1].content[0].type", /'assistant' only/],
  [blockOf({ type: "tool_result" }), "messages[1].content[0].tool_use_id", /missing/],
  [blockOf({ type: "tool_result", tool_use_id: "t", content: 5 }), "messages[1].content[0].content", /a string or an array/],
  [
    blockOf({ type: "tool_result", tool_use_id: "t", content: [{ type: "image", source: {} }] }),
    "messages[1].content[0].content[0]",
    /images are not supported/,
  ],
  [saysOf({ type: "tool_result" }), "messages[1].content[0].type", /not supported here/],
  [saysOf({ type: "tool_use", name: "f", input: {} }), "messages[1].content[0].id", /missing/],
  [saysOf({ type: "tool_use", id: "t", input: {} }), "messages[1].content[0].name", /missing/],
  [saysOf({ type: "tool_use", id: "t", name: "f", input: "{}" }), "messages[1].content[0].input", /an object/],
  [{ tools: {} }, "tools", /an array/],
  [{ tools: [{ name: "f" }] }, "tools[0].input_schema", /JSON Schema/],
  [{ tools: [custom, { input_schema: {} }] }, "tools[1].name", /missing/],
  [{ tools: [{ ...custom, name: "" }] }, "tools[0].name", /not be empty/],
  [{ tools: [{ ...custom, description: 5 }] }, "tools[0].description", /a string/],
  [{ tools: [custom], tool_choice: "auto" }, "tool_choice", /an object/],
  [{ tools: [custom], tool_choice: { type: "all" } }, "tool_choice.type", /'all'; use one of/],
  [{ tools: [custom], tool_choice: { type: "tool" } }, "tool_choice.name", /missing/],
  [{ tools: [custom], tool_choice: { type: "tool", name: "g" } }, "tool_choice.name", /not in `tools`/],
  [{ tools: [{ type: "web_search_20260209", name: "web_search" }], tool_choice: { type: "any" } }, "tool_choice", /no tools are given/],
  [{ stop_sequences: ["a", ""] }, "stop_sequences[1]", /empty/],
  [{ stop_sequences: Array.from({ length: 17 }, String) }, "stop_sequences", /at most 16/],
  [{ temperature: 1.5 }, "temperature", /at most 1/],
  [{ thinking: { type: "deep" } }, "thinking.type", /'adaptive'/],
  [{ thinking: { type: "enabled", budget_tokens: 5 } }, "thinking.budget_tokens", /at least 1024/],
  [{ output_config: { effort: "vast" } }, "output_config.effort", /one of/],
  [{ output_config: { format: { type: "text" } } }, "output_config.format.type", /json_schema/],
  [{ output_config: { format: { type: "json_schema" } } }, "output_config.format.schema", /JSON Schema/],
  [{ any: nest(70) }, "any[0][0][0]", /deeper than 64/],
])("messages refuse %#: %s", (fields, param, says) => refusal(message(fields), param, says));

test("messages: a full one", () => {
  const parsed = message({
    system: "s",
    tools: [custom, { type: "web_search_20260209", name: "web_search" }],
    tool_choice: { type: "any", disable_parallel_tool_use: true },
    stop_sequences: ["a", "b", "c", "d", "e"],
    top_k: 5,
    top_p: 0.5,
    temperature: 1,
    output_config: { format: { type: "json_schema", schema: { type: "object" } } },
    metadata: { user_id: "user_1" },
    mcp_servers: [],
  });
  expect(parsed).toMatchObject({
    ok: true,
    request: {
      api: "messages",
      toolChoice: "required",
      parallelToolCalls: false,
      stop: ["a", "b", "c", "d", "e"],
      topP: 0.5,
      temperature: 1,
      responseFormat: { type: "json_schema", schema: { type: "object" }, strict: true },
      session: "user_1",
      prompt: {
        messages: [{ role: "system", content: "s" }, user],
        tools: [{ type: "function", function: { name: "f", parameters: {} } }],
      },
    },
  });
  expect(message({ tools: [custom], tool_choice: { type: "tool", name: "f" } })).toMatchObject({ request: { toolChoice: { name: "f" } } });
});

test.each<[object, string | null]>([
  [{}, null],
  [{ thinking: { type: "disabled" }, output_config: { effort: "high" } }, "none"],
  [{ thinking: { type: "adaptive" } }, "high"],
  [{ thinking: { type: "adaptive" }, output_config: { effort: "max" } }, "max"],
  [{ thinking: { type: "enabled", budget_tokens: 1_024 } }, "low"],
  [{ thinking: { type: "enabled", budget_tokens: 10_000 } }, "medium"],
  [{ thinking: { type: "enabled", budget_tokens: 30_000 } }, "high"],
  [{ output_config: { effort: "low" } }, "low"],
])("effort %j is %s", (fields, reasoningEffort) => {
  expect(message(fields)).toMatchObject({ ok: true, request: { reasoningEffort } });
});

test("results and texts keep their order, thinking alone is an empty answer, media are hashed as chat's", () => {
  const content = [
    { type: "text", text: "a" },
    { type: "tool_result", tool_use_id: "t", is_error: true },
    { type: "text", text: "b" },
    { type: "text", text: "c" },
  ];
  const parsed = message({
    messages: [user, { role: "assistant", content: [{ type: "thinking", thinking: "x" }] }, { role: "user", content }],
  });
  expect(parsed.ok && parsed.request.prompt).toMatchObject({
    messages: [
      user,
      { role: "assistant", content: "" },
      { role: "user", content: "a" },
      { role: "tool", tool_call_id: "t", content: "" },
      {
        role: "user",
        content: [
          { type: "text", text: "b" },
          { type: "text", text: "c" },
        ],
      },
    ],
  });
  const image = { type: "image", source: { type: "base64", media_type: "image/png", data: "AA" } };
  const seen = parseMessagesRequest({ model: "m", max_tokens: 5, messages: [{ role: "user", content: [image] }] }, undefined, {
    media: true,
  });
  expect(seen.ok && seen.request.prompt).toMatchObject({ messages: [{ content: [{ image_url: { url: "data:image/png;base64,AA" } }] }] });
});

test("counting needs no max_tokens", () => {
  expect(parseCountTokensRequest({ model: "m", messages: [user], system: "s" })).toMatchObject({ ok: true, request: { maxTokens: null } });
  refusal(parseCountTokensRequest({ model: "m" }), "messages", /missing/);
});
