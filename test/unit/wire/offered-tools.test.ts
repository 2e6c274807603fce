/** Tools that come and go in the middle of a messages request. */
import { describe, expect, it, test } from "vitest";
import xxhash from "xxhash-wasm";
import { z } from "zod";
import { PromptEncoder } from "../../../src/prefix/prompt-encoder.ts";
import type { InnerRequest } from "../../../src/wire/inner.ts";
import { parseCountTokensRequest, parseMessagesRequest } from "../../../src/wire/messages.ts";

z.config({ jitless: true });
const xxh = await xxhash();

const tool = (name: string, more: object = {}) => ({ name, description: `About ${name}.`, input_schema: { type: "object" }, ...more });
const deferred = (name: string) => tool(name, { defer_loading: true });
const user = { role: "user", content: "Fetch it." };
const searched = { role: "assistant", content: [{ type: "tool_use", id: "t", name: "ToolSearch", input: {} }] };
const result = (...content: object[]) => ({ role: "user", content: [{ type: "tool_result", tool_use_id: "t", content }] });
const reference = (name: string) => ({ type: "tool_reference", tool_name: name });
const system = (...content: object[]) => ({ role: "system", content });
const added = (added: object) => ({ type: "tool_addition", tool: added });
const removed = (name: string) => ({ type: "tool_removal", tool: { type: "tool_reference", name } });

const parse = (messages: object[], tools: object[], more: object = {}) =>
  parseMessagesRequest({ model: "m", max_tokens: 5, messages, tools, ...more });

function taken(messages: object[], tools: object[], more: object = {}): InnerRequest {
  const parsed = parse(messages, tools, more);
  if (!parsed.ok) throw new Error(parsed.error.message);
  return parsed.request;
}

const names = (tools: readonly { function: { name: string } }[]) => tools.map((one) => one.function.name);
const promptOf = ({ prompt }: InnerRequest) => {
  if ("text" in prompt) throw new Error("a text");
  return prompt;
};

function bytesOf(request: InnerRequest): Uint8Array {
  const encoder = new PromptEncoder((bytes, seed) => xxh.h64Raw(bytes, seed));
  return encoder.encode(request.prompt, "system-then-tools").slice();
}

const all = [tool("ToolSearch"), deferred("WebFetch"), deferred("Mail")];

describe("a deferred tool", () => {
  it("is not in the prompt until it is named, and then stands where it is named", () => {
    const before = taken([user], all);
    expect(names(promptOf(before).tools)).toEqual(["ToolSearch"]);
    expect(before.laterTools).toEqual([]);
    const after = taken([user, searched, result(reference("WebFetch"))], all);
    expect(names(promptOf(after).tools)).toEqual(["ToolSearch"]);
    expect(names(after.laterTools)).toEqual(["WebFetch"]);
    const text = promptOf(after).messages.at(-1)?.content;
    expect(text).toContain(JSON.stringify({ type: "function", function: promptOf(taken([user], [tool("WebFetch")])).tools[0]?.function }));
    expect(after.schemaPaths.get("WebFetch")).toBe("tools[1].input_schema");
  });

  it("leaves the bytes before it as they were", () => {
    const before = bytesOf(taken([user], all));
    const after = bytesOf(taken([user, searched, result(reference("WebFetch"), reference("Mail"))], all));
    expect(after.subarray(0, before.length)).toEqual(before);
    const later = bytesOf(
      taken([user, searched, result(reference("WebFetch"), reference("Mail")), user, searched, result(reference("Mail"))], all),
    );
    expect(later.subarray(0, after.length)).toEqual(after);
  });

  it("counts as if it were not there", () => {
    const count = (tools: object[]) => parseCountTokensRequest({ model: "m", messages: [user], tools });
    expect(count(all)).toMatchObject({ ok: true, request: { prompt: { tools: promptOf(taken([user], [tool("ToolSearch")])).tools } } });
  });

  it("can only be chosen once it is there", () => {
    const choice = { tool_choice: { type: "tool", name: "WebFetch" } };
    expect(parse([user], all, choice)).toMatchObject({ ok: false, error: { param: "tool_choice.name" } });
    expect(parse([user, searched, result(reference("WebFetch"))], all, choice)).toMatchObject({ ok: true });
    expect(parse([user], [deferred("Mail")], { tool_choice: { type: "any" } })).toMatchObject({
      ok: false,
      error: { param: "tool_choice" },
    });
  });

  it("is not deferred where the vendor's own search, which is not here, would have to name it", () => {
    const hosted = { type: "tool_search_tool_regex_20251119", name: "tool_search_tool_regex" };
    expect(names(promptOf(taken([user], [hosted, deferred("Mail")])).tools)).toEqual(["Mail"]);
  });
});

describe("a reference", () => {
  it("to a name that no tool has is refused by its path", () => {
    expect(parse([user, searched, result({ type: "text", text: "a" }, reference("Nope"))], all)).toMatchObject({
      ok: false,
      error: { status: 400, param: "messages[2].content[0].content[1].tool_name" },
    });
    expect(parse([system(added({ type: "tool_reference", name: "Nope" })), user], all)).toMatchObject({
      error: { param: "messages[0].content[0].tool.name" },
    });
    expect(parse([system(removed("Nope")), user], all)).toMatchObject({ error: { param: "messages[0].content[0].tool.name" } });
    expect(parse([system(added({ type: "mcp_toolset_reference", server_name: "s" })), user], all)).toMatchObject({
      error: { param: "messages[0].content[0].tool.type" },
    });
  });

  it("to a tool that is there, or that others host, is a word", () => {
    const hosted = { type: "web_search_20250305", name: "web_search" };
    const request = taken([user, searched, result(reference("ToolSearch"), reference("web_search"))], [...all, hosted]);
    expect(request.laterTools).toEqual([]);
    expect(JSON.stringify(promptOf(request).messages.at(-1))).toContain("cannot be called here");
  });
});

test("a tool is added and removed by a system message", () => {
  const definition = tool("Late");
  const messages = [user, system(added({ type: "tool_definition", definition }), removed("ToolSearch")), user];
  const request = taken(messages, all);
  expect(names(request.laterTools)).toEqual(["Late"]);
  expect(request.allowedTools).toEqual(["Late"]);
  expect(request.schemaPaths.get("Late")).toBe("messages[1].content[0].tool.definition.input_schema");
  const back = taken([...messages, system(added({ type: "tool_reference", name: "ToolSearch" }))], all);
  expect(back.allowedTools).toBeNull();
  expect(names(promptOf(back).tools)).toEqual(["ToolSearch"]);
});
