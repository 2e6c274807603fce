/** One conversation through chat, responses and messages is one prompt and one chain. */
import fc from "fast-check";
import { expect, test } from "vitest";
import xxhash from "xxhash-wasm";
import { z } from "zod";
import { chainOf, chainRoot } from "../../../src/prefix/chain.ts";
import { PromptEncoder } from "../../../src/prefix/prompt-encoder.ts";
import { DEFAULT_SCHEDULE, type HashSpec, TEMPLATE_ORDERS } from "../../../src/prefix/segment.ts";
import { APIS } from "../../../src/wire/apis.ts";
import type { InnerRequest, ParsedRequest } from "../../../src/wire/inner.ts";
import type { ApiName } from "../../../src/wire/api-table.ts";
import { parseMessagesRequest } from "../../../src/wire/messages.ts";
import { parseChatRequest } from "../../../src/wire/openai.ts";
import { parseResponsesRequest } from "../../../src/wire/responses.ts";

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
const bytesOf = (request: InnerRequest, order = spec.order): Buffer => Buffer.from(encoder.encode(request.prompt, order));
const hashesOf = (request: InnerRequest): BigUint64Array => chainOf(hash64, root, bytesOf(request), spec.schedule).hashes;

interface Call {
  id: string;
  name: string;
  input: Record<string, unknown>;
  result: string;
}
interface Turn {
  user: string;
  text: string | null;
  calls: Call[];
}
interface Conversation {
  system: string | null;
  tools: { name: string; description: string; schema: Record<string, unknown> }[];
  turns: Turn[];
  last: string;
}

function asChat({ system, tools, turns, last }: Conversation): unknown {
  const messages: unknown[] = system === null ? [] : [{ role: "system", content: system }];
  for (const { user, text, calls } of turns) {
    messages.push({ role: "user", content: user });
    const toolCalls = calls.map(({ id, name, input }) => ({ id, type: "function", function: { name, arguments: JSON.stringify(input) } }));
    messages.push({
      role: "assistant",
      content: text ?? (calls.length === 0 ? "" : null),
      ...(calls.length === 0 ? {} : { tool_calls: toolCalls }),
    });
    for (const { id, result } of calls) messages.push({ role: "tool", tool_call_id: id, content: result });
  }
  messages.push({ role: "user", content: last });
  const functions = tools.map(({ name, description, schema }) => ({
    type: "function",
    function: { name, description, parameters: schema },
  }));
  return { model: "m", messages, tools: functions, temperature: 0.5, user: "someone" };
}

function asResponses({ system, tools, turns, last }: Conversation, how: "instructions" | "items"): unknown {
  const input: unknown[] =
    system !== null && how === "items"
      ? [{ type: "message", role: "developer", content: [{ type: "input_text", text: system }], id: "msg_9" }]
      : [];
  for (const { user, text, calls } of turns) {
    input.push({ role: "user", content: user }, { type: "reasoning", id: "rs_1", summary: [], encrypted_content: "x" });
    if (text !== null || calls.length === 0) {
      input.push({
        type: "message",
        role: "assistant",
        id: "msg_1",
        status: "completed",
        content: [{ type: "output_text", text: text ?? "", annotations: [] }],
      });
    }
    for (const { id, name, input: args } of calls)
      input.push({ type: "function_call", id: `fc_${id}`, call_id: `other_${id}`, name, arguments: JSON.stringify(args) });
    for (const { id, result } of calls) input.push({ type: "function_call_output", call_id: `other_${id}`, output: result });
  }
  input.push({ type: "message", role: "user", content: [{ type: "input_text", text: last }] });
  const functions = tools.map(({ name, description, schema }) => ({
    type: "function",
    strict: false,
    parameters: schema,
    name,
    description,
  }));
  return {
    model: "m",
    input,
    tools: [...functions, { type: "web_search" }],
    store: false,
    ...(how === "instructions" ? { instructions: system } : {}),
  };
}

function asMessages({ system, tools, turns, last }: Conversation, marked: boolean): unknown {
  const mark = marked ? { cache_control: { type: "ephemeral" } } : {};
  const messages: unknown[] = [];
  let before: unknown[] = [];
  for (const { user, text, calls } of turns) {
    messages.push({ role: "user", content: [...before, { type: "text", text: user, ...mark }] });
    const uses = calls.map(({ id, name, input }) => ({ type: "tool_use", id: `toolu_${id}`, name, input }));
    const texts = text === null ? [] : [{ type: "text", text }];
    messages.push({ role: "assistant", content: [{ type: "thinking", thinking: "hm", signature: "s" }, ...texts, ...uses] });
    before = calls.map(({ id, result }) => ({
      type: "tool_result",
      tool_use_id: `toolu_${id}`,
      content: marked ? [{ type: "text", text: result, ...mark }] : result,
    }));
  }
  messages.push({ role: "user", content: before.length === 0 && !marked ? last : [...before, { type: "text", text: last, ...mark }] });
  const custom = tools.map(({ name, description, schema }) => ({ name, description, input_schema: schema, ...mark }));
  return {
    model: "m",
    max_tokens: 9,
    system: system === null ? undefined : [{ type: "text", text: system, ...mark }],
    messages,
    tools: custom,
    stream: true,
  };
}

const all = (conversation: Conversation): InnerRequest[] => [
  taken(parseChatRequest(asChat(conversation))),
  taken(parseResponsesRequest(asResponses(conversation, "items"), [])),
  taken(parseResponsesRequest(asResponses(conversation, "instructions"), [])),
  taken(parseMessagesRequest(asMessages(conversation, false))),
  taken(parseMessagesRequest(asMessages(conversation, true))),
];

const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const example: Conversation = {
  system: "You know the weather. ".repeat(60),
  tools: ["weather", "tides"].map((name) => ({ name, description: `Tells the ${name}.`, schema })),
  turns: [
    { user: "Weather in Oslo?", text: "I look.", calls: [{ id: "c1", name: "weather", input: { city: "Oslo" }, result: '{"t": 4}' }] },
  ],
  last: "And in Bergen?",
};

test("one conversation, five bodies, one chain", () => {
  const requests = all(example);
  const [chat] = requests;
  if (!chat) throw new Error("none");
  expect(bytesOf(chat).toString("latin1")).toMatch(
    /^\xf9system\xfaYou know.*\xf8\{"name":"weather","description".*\xfdweather\xfe\{"city":"Oslo"\}\xf9tool\xfa.*Bergen\?$/,
  );
  expect(hashesOf(chat).length).toBeGreaterThan(4);
  for (const request of requests) {
    expect(bytesOf(request)).toEqual(bytesOf(chat));
    expect(hashesOf(request)).toEqual(hashesOf(chat));
  }
});

test("any conversation is the same prompt through every API, in every template's order", () => {
  const text = fc.string({ unit: "binary", maxLength: 60 });
  const some = fc.string({ unit: "binary", minLength: 1, maxLength: 60 });
  const name = fc.stringMatching(/^[a-z]{1,8}$/);
  const json = fc.dictionary(fc.string({ maxLength: 5 }), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 3 });
  const call = fc.record({ id: name, name, input: json, result: text });
  const conversation: fc.Arbitrary<Conversation> = fc.record({
    system: fc.option(some),
    tools: fc.array(fc.record({ name, description: text, schema: json }), { maxLength: 2 }),
    turns: fc.array(fc.record({ user: text, text: fc.option(text), calls: fc.array(call, { maxLength: 2 }) }), { maxLength: 3 }),
    last: text,
  });
  fc.assert(
    fc.property(conversation, fc.constantFrom(...TEMPLATE_ORDERS), (each, order) => {
      const [chat, ...others] = all(each).map((request) => bytesOf(request, order).toString("latin1"));
      for (const other of others) expect(other).toBe(chat);
    }),
    { numRuns: 500 },
  );
});

test("history is the front of the input: a chained response has the prompt of the whole", () => {
  const { prompt } = taken(parseChatRequest(asChat({ ...example, system: null })));
  if (!("messages" in prompt)) throw new Error("text");
  const chained = {
    model: "m",
    instructions: "now this",
    input: "And in Bergen?",
    previous_response_id: "resp_1",
    tools: (asResponses(example, "items") as { tools: unknown }).tools,
  };
  const request = taken(parseResponsesRequest(chained, prompt.messages.slice(0, -1)));
  expect(bytesOf(request)).toEqual(bytesOf(taken(parseChatRequest(asChat({ ...example, system: "now this" })))));
  expect(request.responses).toMatchObject({ previousResponseId: "resp_1", instructions: "now this", store: true });
  expect(request.session).toBe("resp_1");
});

test("each API has its parser", () => {
  const bodies: Record<ApiName, unknown> = {
    chat: asChat(example),
    completions: { model: "m", prompt: "p" },
    responses: asResponses(example, "items"),
    messages: asMessages(example, true),
  };
  for (const api of ["chat", "completions", "responses", "messages"] as const) {
    const headers = (name: string): string | null => (name === "x-session-id" ? "s" : null);
    const request = taken(APIS[api].parse(bodies[api], { headers, history: [] }));
    expect(request).toMatchObject({ api, session: "s", stream: api === "messages" });
  }
});

test("a count of messages needs no max_tokens", () => {
  const body = { model: "m", messages: [{ role: "user", content: "hi" }] };
  const context = { headers: () => null, history: [] };
  expect(APIS.messages.parse(body, { ...context, counts: true }).ok).toBe(true);
  expect(APIS.messages.parse(body, context)).toMatchObject({ ok: false, error: { param: "max_tokens" } });
});
