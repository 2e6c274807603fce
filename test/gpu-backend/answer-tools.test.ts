/** What can be called, what must be, and what the arguments are, through every API of a replica with a real engine. */
import type Anthropic from "@anthropic-ai/sdk";
import type OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import type { LlamaEngine } from "../../gpu-backend/engine/llama-cpp/engine.ts";
import { type AnswerServer, startAnswerServer } from "./answer-server.ts";
import { startDemo } from "./engine-runs.ts";

/** Every length and seed through every API with WARMPATH_FULL=1; otherwise every length through some. */
const full = process.env["WARMPATH_FULL"] === "1";

let engine: LlamaEngine;
let server: AnswerServer;
let model: string;
beforeAll(async () => {
  engine = await startDemo({ queueLimit: 8, contextTokens: 2048, grammarLimits: "short" });
  server = await startAnswerServer(engine);
  ({ model } = engine.card);
});
afterAll(async () => {
  await server.close();
  await engine.close();
});

const user = (content: string) => [{ role: "user" as const, content }];

/** One forced answer, the same of every API. */
interface Answered {
  calls: { name: string; arguments: string }[];
  text: string;
  /** It is a call to make. */
  toCall: boolean;
  cut: boolean;
}

interface Asked {
  parameters: unknown;
  maxTokens: number;
  seed: number;
}

const apis: Record<string, (asked: Asked) => Promise<Answered>> = {
  async chat(asked) {
    const whole = await server.openai.chat.completions.create(chatBody(asked));
    const [choice] = whole.choices;
    return answeredChat(choice?.message ?? { content: null }, choice?.finish_reason ?? null);
  },
  async "chat, streamed"(asked) {
    const stream = await server.openai.chat.completions.create({ ...chatBody(asked), stream: true });
    const message = { content: "", tool_calls: [] as { function: { name: string; arguments: string } }[] };
    let reason: string | null = null;
    for await (const { choices } of stream) {
      message.content += choices[0]?.delta.content ?? "";
      for (const delta of choices[0]?.delta.tool_calls ?? []) {
        message.tool_calls[delta.index] ??= { function: { name: "", arguments: "" } };
        const call = message.tool_calls[delta.index];
        if (call !== undefined) {
          call.function.name += delta.function?.name ?? "";
          call.function.arguments += delta.function?.arguments ?? "";
        }
      }
      reason = choices[0]?.finish_reason ?? reason;
    }
    return answeredChat(message, reason);
  },
  async responses(asked) {
    return answeredResponse(await server.openai.responses.create(responsesBody(asked)));
  },
  async "responses, streamed"(asked) {
    const stream = await server.openai.responses.create({ ...responsesBody(asked), stream: true });
    for await (const event of stream) {
      if (event.type === "response.completed" || event.type === "response.incomplete") return answeredResponse(event.response);
    }
    throw new Error("no end");
  },
  async messages(asked) {
    return answeredMessage(await server.anthropic.messages.create(messagesBody(asked)));
  },
  async "messages, streamed"(asked) {
    return answeredMessage(await server.anthropic.messages.stream(messagesBody(asked)).finalMessage());
  },
};

const given = (parameters: unknown) => (parameters === undefined ? {} : { parameters: parameters as Record<string, unknown> });

const chatBody = ({ parameters, maxTokens, seed }: Asked) => ({
  model,
  messages: user(`Do it ${seed}`),
  tools: [{ type: "function" as const, function: { name: "noop", ...given(parameters) } }],
  tool_choice: "required" as const,
  max_tokens: maxTokens,
  seed,
});
const responsesBody = ({ parameters, maxTokens, seed }: Asked) => ({
  model,
  input: `Do it ${seed}`,
  tools: [{ type: "function" as const, name: "noop", strict: false, parameters: (parameters ?? null) as Record<string, unknown> | null }],
  tool_choice: "required" as const,
  max_output_tokens: maxTokens,
  store: false,
});
const messagesBody = ({ parameters, maxTokens, seed }: Asked) => ({
  model,
  messages: user(`Do it ${seed}`),
  tools: [{ name: "noop", input_schema: (parameters ?? {}) as Anthropic.Tool.InputSchema }],
  tool_choice: { type: "any" as const },
  max_tokens: maxTokens,
});

function answeredChat(message: { content: string | null; tool_calls?: unknown }, reason: string | null): Answered {
  const calls = (message.tool_calls ?? []) as { function: { name: string; arguments: string } }[];
  return {
    calls: calls.map((call) => call.function),
    text: message.content ?? "",
    toCall: reason === "tool_calls",
    cut: reason === "length",
  };
}
function answeredResponse(response: OpenAI.Responses.Response): Answered {
  const calls = response.output.flatMap((item) => (item.type === "function_call" ? [item] : []));
  // Only whole responses have the client's own `output_text`.
  const parts = response.output.flatMap((item) => (item.type === "message" ? item.content : []));
  const text = parts.map((part) => (part.type === "output_text" ? part.text : "")).join("");
  const toCall = calls.some((call) => call.status === "completed");
  return { calls, text, toCall, cut: response.status === "incomplete" };
}
function answeredMessage(message: Anthropic.Message): Answered {
  const calls = message.content.flatMap((block) =>
    block.type === "tool_use" ? [{ name: block.name, arguments: JSON.stringify(block.input) }] : [],
  );
  const text = message.content.map((block) => (block.type === "text" ? block.text : "")).join("");
  return { calls, text, toCall: message.stop_reason === "tool_use", cut: message.stop_reason === "max_tokens" };
}

const isObject = (text: string) => {
  const value: unknown = JSON.parse(text);
  return typeof value === "object" && value !== null && !Array.isArray(value);
};

describe.each(Object.entries(apis))("a forced tool through %s", (api, ask) => {
  const isMessages = api.startsWith("messages");

  it("without parameters is called with {}", async () => {
    for (const parameters of [{}, undefined, { type: "object", properties: {} }]) {
      const { calls, text, toCall } = await ask({ parameters, maxTokens: 200, seed: 1 });
      expect([text, toCall]).toEqual(["", true]);
      for (const call of calls) expect(call).toMatchObject({ name: "noop", arguments: "{}" });
      expect(calls.length).toBeGreaterThan(0);
    }
  });

  it("gets an object where the schema also has other values, and is refused where it has none", async () => {
    const either = { anyOf: [{ type: "object", properties: { a: { type: "boolean" } }, required: ["a"] }, { type: "string" }] };
    for (let seed = 1; seed <= (full ? 4 : 2); seed += 1) {
      const { calls } = await ask({ parameters: either, maxTokens: 400, seed });
      expect(calls.length).toBeGreaterThan(0);
      for (const call of calls) expect(isObject(call.arguments)).toBe(true);
    }
    for (const parameters of [{ type: "array" }, { enum: ["a"] }]) {
      const error: unknown = await ask({ parameters, maxTokens: 50, seed: 1 }).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ status: 400 });
      if (!isMessages) expect(error).toMatchObject({ param: expect.stringMatching(/^tools\[0\]\.(function\.)?parameters$/) });
      else expect(JSON.stringify(error)).toContain("`tools[0].input_schema`");
    }
  });

  it("that is cut is a part of a call, or nothing; never a mark in the text", async () => {
    const parameters = { type: "object", properties: { a: { type: "string", minLength: 40, maxLength: 60 } }, required: ["a"] };
    const step = full ? 1 : 4;
    for (let maxTokens = 1 + (Object.keys(apis).indexOf(api) % step); maxTokens <= 24; maxTokens += step) {
      const { calls, text, toCall, cut } = await ask({ parameters, maxTokens, seed: maxTokens });
      expect({ text, toCall, cut }).toEqual({ text: "", toCall: false, cut: true });
      for (const call of calls) expect(call.name).toBe("noop");
    }
  });
});

test("tools beside a strict format: calls and texts of the format both occur, and each is valid", async () => {
  const schema = { type: "object", properties: { ok: { type: "boolean" } }, required: ["ok"], additionalProperties: false };
  const tool = (name: string) => ({ type: "function" as const, function: { name, parameters: schema, strict: true } });
  const kinds = new Set<string>();
  for (let seed = 1; seed <= (full ? 30 : 10); seed += 1) {
    const { choices } = await server.openai.chat.completions.create({
      model,
      messages: user(`Answer or call ${seed}`),
      tools: [tool("first"), tool("second")],
      response_format: { type: "json_schema", json_schema: { name: "w", schema, strict: true } },
      temperature: 1,
      seed,
      max_tokens: 400,
    });
    const { message, finish_reason: reason } = choices[0] ?? {};
    const calls = message?.tool_calls ?? [];
    kinds.add(reason ?? "");
    if (reason === "tool_calls") {
      expect(message?.content).toBeNull();
      for (const call of calls)
        if (call.type === "function") expect(JSON.parse(call.function.arguments)).toEqual({ ok: expect.any(Boolean) });
    } else {
      expect(calls).toEqual([]);
      expect(JSON.parse(message?.content ?? "")).toEqual({ ok: expect.any(Boolean) });
    }
  }
  expect(kinds).toEqual(new Set(["tool_calls", "stop"]));
});

test("allowed tools: the prompt is the same, only those allowed are called", async () => {
  const tool = (name: string) => ({ type: "function" as const, function: { name, parameters: {} } });
  const ask = async (names: string[], mode: "auto" | "required", seed: number) => {
    const tools = names.map((name) => ({ type: "function", function: { name } }));
    return server.openai.chat.completions.create({
      model,
      messages: user("Time or weather?"),
      tools: [tool("time"), tool("weather")],
      tool_choice: { type: "allowed_tools", allowed_tools: { mode, tools } },
      seed,
      max_tokens: 60,
    });
  };
  const both = await ask(["time", "weather"], "required", 0);
  for (let seed = 1; seed <= (full ? 6 : 2); seed += 1) {
    for (const name of ["time", "weather"]) {
      const { choices, usage } = await ask([name], "required", seed);
      expect(usage?.prompt_tokens).toBe(both.usage?.prompt_tokens);
      const calls = choices[0]?.message.tool_calls ?? [];
      expect(calls.length).toBeGreaterThan(0);
      for (const call of calls) expect(call).toMatchObject({ function: { name, arguments: "{}" } });
    }
  }
  expect((await ask(["time"], "auto", 1)).usage?.prompt_tokens).toBe(both.usage?.prompt_tokens);
  const response = await server.openai.responses.create({
    model,
    input: "Time or weather?",
    tools: ["time", "weather"].map((name) => ({ type: "function", name, strict: false, parameters: {} })),
    tool_choice: { type: "allowed_tools", mode: "required", tools: [{ type: "function", name: "weather" }] },
    parallel_tool_calls: false,
    store: false,
  });
  expect(response.output).toMatchObject([{ type: "function_call", name: "weather", arguments: "{}" }]);
});

test("deferred tools: out of the prompt until one is named, then callable, behind the same prefix", async () => {
  const schema = (properties: object) => ({ type: "object" as const, properties, required: Object.keys(properties) });
  const search = { name: "ToolSearch", description: "Finds tools.", input_schema: schema({ query: { enum: ["web"] } }) };
  const deferred = (name: string) => ({
    name,
    description: `${name} does what its name says. `.repeat(4),
    input_schema: schema({ site: { enum: ["a.example", "b.example"] } }),
    defer_loading: true,
  });
  const all = [search, deferred("WebFetch"), deferred("Mail")];
  const question: Anthropic.MessageParam = { role: "user", content: "Fetch the page, please, and tell me. ".repeat(100) };
  const found: Anthropic.MessageParam[] = [
    question,
    { role: "assistant", content: [{ type: "tool_use", id: "t1", name: "ToolSearch", input: { query: "web" } }] },
    { role: "user", content: [{ type: "tool_result", tool_use_id: "t1", content: [{ type: "tool_reference", tool_name: "WebFetch" }] }] },
  ];
  const count = async (messages: Anthropic.MessageParam[], tools: Anthropic.Tool[]) =>
    (await server.anthropic.messages.countTokens({ model, messages, tools })).input_tokens;
  expect(await count([question], all)).toBe(await count([question], [search]));

  const ask = (messages: Anthropic.MessageParam[], name: string) =>
    server.anthropic.messages.create({ model, max_tokens: 100, messages, tools: all, tool_choice: { type: "tool", name } });
  const before = await ask([question], "ToolSearch");
  const beforeTokens = before.usage.input_tokens + (before.usage.cache_read_input_tokens ?? 0);
  expect(beforeTokens).toBe(await count([question], all));
  const after = await ask(found, "WebFetch");
  expect(after.content).toMatchObject([{ type: "tool_use", name: "WebFetch", input: { site: expect.stringMatching(/^[ab]\.example$/) } }]);
  expect((after.usage.cache_read_input_tokens ?? 0) / beforeTokens).toBeGreaterThanOrEqual(0.95);
  expect(after.usage.input_tokens + (after.usage.cache_read_input_tokens ?? 0)).toBe(await count(found, all));
  await expect(ask(found, "Mail")).rejects.toMatchObject({ status: 400 });
  await expect(ask([question], "WebFetch")).rejects.toMatchObject({ status: 400 });
});
