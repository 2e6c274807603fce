/** What real clients send: billing lines, namespaces, reasoning, sessions. */
import { expect, test } from "vitest";
import xxhash from "xxhash-wasm";
import { z } from "zod";
import { chainOf, chainRoot } from "../../../src/prefix/chain.ts";
import { PromptEncoder } from "../../../src/prefix/prompt-encoder.ts";
import { DEFAULT_SCHEDULE, type HashSpec } from "../../../src/prefix/segment.ts";
import type { InnerRequest, ParsedRequest } from "../../../src/wire/inner.ts";
import { parseMessagesRequest } from "../../../src/wire/messages.ts";
import { parseChatRequest } from "../../../src/wire/openai.ts";
import { parseResponsesRequest } from "../../../src/wire/responses.ts";
import { inputItemsOf } from "../../../src/wire/responses-items.ts";

// As in workerd, where zod may not compile code.
z.config({ jitless: true });

const xxh = await xxhash();
const hash64 = (bytes: Uint8Array, seed: bigint): bigint => xxh.h64Raw(bytes, seed);
const encoder = new PromptEncoder(hash64);
const spec: HashSpec = { version: 1, schedule: DEFAULT_SCHEDULE, order: "system-then-tools" };
const root = chainRoot(hash64, { spec, model: "m", adapter: null, salt: "c2FsdA" });

function taken(parsed: ParsedRequest): InnerRequest {
  if (!parsed.ok) throw new Error(parsed.error.message);
  return parsed.request;
}
const bytesOf = (request: InnerRequest): Buffer => Buffer.from(encoder.encode(request.prompt, spec.order));

const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };

/** As Claude Code sends: 24 tools, 3 system blocks, a system message in the middle, cache_control on the last block. */
function claudeCode(billing: string, session: string, ask: string): unknown {
  const ephemeral = { cache_control: { type: "ephemeral", ttl: "1h" } };
  const tools = Array.from({ length: 24 }, (_, index) => ({
    name: `Tool${index}`,
    description: "Does a thing. ".repeat(90),
    input_schema: schema,
  }));
  return {
    model: "m",
    max_tokens: 32_000,
    stream: true,
    system: [
      { type: "text", text: `x-anthropic-billing-header: cc_version=2.1.197.${billing}; cc_entrypoint=sdk-cli; cch=${billing};` },
      { type: "text", text: "You are Claude Code.", ...ephemeral },
      { type: "text", text: "The rules. ".repeat(900), ...ephemeral },
    ],
    messages: [
      {
        role: "user",
        content: [
          { type: "text", text: "<context>" },
          { type: "text", text: ask, ...ephemeral },
        ],
      },
      { role: "system", content: "Skills: none." },
    ],
    tools,
    thinking: { type: "adaptive" },
    output_config: { effort: "medium" },
    context_management: { edits: [{ type: "clear_thinking_20251015", keep: "all" }] },
    metadata: { user_id: JSON.stringify({ device_id: "d", account_uuid: "", session_id: session }) },
  };
}

test("Claude Code: two conversations share the whole system prompt and all tools", () => {
  const one = taken(parseMessagesRequest(claudeCode("a1f", "s1", "say hi")));
  const two = taken(parseMessagesRequest(claudeCode("07c", "s2", "do something else")));
  expect(one).toMatchObject({ reasoningEffort: "medium", maxTokens: 32_000, stream: true, session: "s1", api: "messages" });
  const { messages, tools } = one.prompt as Extract<InnerRequest["prompt"], { messages: unknown }>;
  expect(messages.map((message) => message.role)).toEqual(["system", "user", "system"]);
  expect(tools).toHaveLength(24);
  expect(JSON.stringify(one.prompt)).not.toMatch(/billing|cache_control/);
  const [left, right] = [bytesOf(one), bytesOf(two)];
  const shared = left.indexOf("say hi");
  expect(left.subarray(0, shared)).toEqual(right.subarray(0, shared));
  const chains = [left, right].map((bytes) => chainOf(hash64, root, bytes, spec.schedule));
  const whole = (chains[0]?.ends ?? new Uint32Array()).filter((end) => end <= shared).length;
  expect(whole).toBeGreaterThan(35);
  expect(chains[0]?.hashes.slice(0, whole)).toEqual(chains[1]?.hashes.slice(0, whole));
  expect(
    taken(parseMessagesRequest(claudeCode("a1f", "s1", "say hi"), (name) => (name === "x-claude-code-session-id" ? "h" : null))).session,
  ).toBe("h");
});

test("the billing line goes through every API, and takes nothing else with it", () => {
  const line = "x-anthropic-billing-header: cc_version=1;";
  const user = { role: "user", content: "hi" };
  const plain = bytesOf(taken(parseChatRequest({ model: "m", messages: [{ role: "system", content: "Be kind." }, user] })));
  const bodies = [
    parseChatRequest({ model: "m", messages: [{ role: "system", content: `${line}\n\nBe kind.` }, user] }),
    parseChatRequest({ model: "m", messages: [{ role: "system", content: line }, { role: "developer", content: "Be kind." }, user] }),
    parseChatRequest({
      model: "m",
      messages: [
        {
          role: "system",
          content: [
            { type: "text", text: line },
            { type: "text", text: "Be kind." },
          ],
        },
        user,
      ],
    }),
    parseResponsesRequest({ model: "m", instructions: `${line}\nBe kind.`, input: "hi" }, []),
    parseMessagesRequest({ model: "m", max_tokens: 1, system: `${line}\nBe kind.`, messages: [user] }),
  ];
  for (const body of bodies) expect(bytesOf(taken(body))).toEqual(plain);
  expect(
    bytesOf(taken(parseMessagesRequest({ model: "m", max_tokens: 1, messages: [{ role: "user", content: line }] }))).toString("latin1"),
  ).toContain(line);
});

test("earlier reasoning is not in the prompt, and what had none is not copied", () => {
  const messages = [
    { role: "user", content: "q" },
    { role: "assistant", content: "a", reasoning_content: "hm", reasoning: "hm" },
    { role: "user", content: "r" },
  ];
  expect(taken(parseChatRequest({ model: "m", messages })).prompt).toEqual({
    messages: [messages[0], { role: "assistant", content: "a" }, messages[2]],
    tools: [],
  });
  expect(taken(parseChatRequest({ model: "m", messages: messages.slice(2) })).prompt).toEqual({ messages: messages.slice(2), tools: [] });
});

test("Codex: its body, tools and session", () => {
  const body = {
    model: "m",
    instructions: "You are Codex.",
    input: [
      {
        type: "message",
        role: "developer",
        id: "msg_a",
        content: [
          { type: "input_text", text: "<permissions>" },
          { type: "input_text", text: "<skills>" },
        ],
      },
      { type: "message", role: "user", id: "msg_b", content: [{ type: "input_text", text: "hi" }] },
      { type: "function_call", name: "read", namespace: "mcp__files", call_id: "c1", arguments: "{}" },
      { type: "function_call_output", call_id: "c1", output: [{ type: "input_text", text: "x" }] },
    ],
    tools: [
      { type: "function", name: "exec_command", description: "Runs.", strict: false, parameters: schema },
      {
        type: "namespace",
        name: "mcp__files",
        description: "Files.",
        tools: [{ type: "function", name: "read", description: "Reads.", strict: false, parameters: schema }],
      },
      { type: "custom", name: "apply_patch", format: { type: "grammar", syntax: "lark", definition: "" } },
      { type: "web_search", external_web_access: true },
    ],
    tool_choice: "auto",
    parallel_tool_calls: false,
    reasoning: { effort: "medium", summary: "auto" },
    store: false,
    stream: true,
    include: ["reasoning.encrypted_content"],
    prompt_cache_key: "01-session",
    client_metadata: { "x-codex-installation-id": "i" },
    text: { verbosity: "low" },
  };
  const request = taken(parseResponsesRequest(body, [], (name) => (name === "session-id" ? "other" : null)));
  expect(request).toMatchObject({
    session: "01-session",
    stream: true,
    reasoningEffort: "medium",
    parallelToolCalls: false,
    toolChoice: "auto",
    logprobs: null,
  });
  expect(request.responses).toMatchObject({
    store: false,
    instructions: "You are Codex.",
    echoed: { tools: body.tools, text: { verbosity: "low", format: { type: "text" } } },
  });
  expect(inputItemsOf(request.responses?.input, "1").map((item) => item["id"])).toEqual(["msg_a", "msg_b", "fc_1_in2", "fco_1_in3"]);
  const { messages, tools } = request.prompt as Extract<InnerRequest["prompt"], { messages: unknown }>;
  expect(tools.map((tool) => tool.function.name)).toEqual(["exec_command", "mcp__files__read"]);
  expect(messages.map((message) => message.role)).toEqual(["system", "developer", "user", "assistant", "tool"]);
  expect(messages[3]?.tool_calls?.[0]?.function.name).toBe("mcp__files__read");
});
