/** Claude Code and Codex as they call: what they send is taken, the shared part of two conversations is computed once. */
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import type { ResponseStreamEvent } from "openai/resources/responses/responses";
import { describe, expect, it } from "vitest";
import { type AgentRequest, claudeCode, codex } from "./coding-agents.ts";
import { productOfWorker, weather, weatherSchema } from "./product.ts";
import { eventsOf, type ServerSentEvent } from "./sse.ts";

const product = productOfWorker();

async function stream(
  { path, headers, body }: AgentRequest,
  key: Record<string, string>,
): Promise<{ events: ServerSentEvent[]; headers: Headers }> {
  const answer = await fetch(product.url + path, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers, ...key },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(60_000),
  });
  const text = await answer.text();
  expect(answer.status, text).toBe(200);
  expect(answer.headers.get("content-type")).toMatch(/^text\/event-stream/);
  return { events: eventsOf(text), headers: answer.headers };
}

type Json = Record<string, unknown>;
const dataOf = ({ data }: ServerSentEvent): Json => JSON.parse(data) as Json;

describe("Claude Code", () => {
  const key = () => ({ "x-api-key": product.apiKey });

  async function ask(session: string, edit: string, question: string): Promise<{ fresh: number; cached: number; types: string[] }> {
    const { events } = await stream(claudeCode(product.model, session, edit, question, 40), key());
    // The event's name is the data's type.
    for (const event of events) expect(dataOf(event)["type"]).toBe(event.event);
    const start = events.map(dataOf).find(({ type }) => type === "message_start") as { message: Anthropic.Message } | undefined;
    const usage = start?.message.usage;
    return { fresh: usage?.input_tokens ?? 0, cached: usage?.cache_read_input_tokens ?? 0, types: events.map(({ event }) => event ?? "") };
  }

  it("looks first whether anyone is there", async () => {
    const answer = await fetch(product.url, { method: "HEAD", headers: { "user-agent": "Bun/1.3" } });
    expect(answer.status).toBe(200);
    expect(await answer.text()).toBe("");
  });

  it("is answered, and a second conversation finds the first one's system prompt and tools", async () => {
    const first = await ask("0a000000-0000-4000-8000-000000000001", "a1f", "Say hi.");
    expect(first.types[0]).toBe("message_start");
    expect(first.types.slice(-2)).toEqual(["message_delta", "message_stop"]);
    expect(first.cached).toBe(0);
    expect(first.fresh).toBeGreaterThan(4_000);
    // Another session, another billing line, another question: nothing is shared but tools and system.
    const second = await ask("0b000000-0000-4000-8000-000000000002", "b2e", "What is in this folder?");
    const all = second.fresh + second.cached;
    expect(Math.abs(all - first.fresh)).toBeLessThan(64);
    expect(second.cached / all, `${second.cached} of ${all}`).toBeGreaterThan(0.8);
  });

  it("goes on from a turn of its own, with a moved cache mark", async () => {
    const request = claudeCode(product.model, "0c000000-0000-4000-8000-000000000003", "c3d", "Read the file.", 60);
    const before = await ask("0c000000-0000-4000-8000-000000000003", "c3d", "Read the file.");
    const messages = structuredClone(request.body["messages"]) as { role: string; content: { cache_control?: object }[] }[];
    delete messages.at(-1)?.content[0]?.cache_control;
    const result = {
      type: "tool_result",
      tool_use_id: "toolu_1",
      content: [{ type: "text", text: "1\tempty" }],
      cache_control: { type: "ephemeral" },
    };
    const more = [
      {
        role: "assistant",
        content: [
          { type: "thinking", thinking: "A file.", signature: "x" },
          { type: "tool_use", id: "toolu_1", name: "Tool0", input: { path: "a" } },
        ],
      },
      { role: "user", content: [result] },
    ];
    const next = { ...request, body: { ...request.body, messages: [...messages, ...more] } };
    const { events } = await stream(next, key());
    const usage = (
      dataOf(events.find(({ event }) => event === "message_start") ?? { event: null, data: "{}" })["message"] as Anthropic.Message
    ).usage;
    // All of the turn before but for its last block.
    expect(usage.cache_read_input_tokens).toBeGreaterThan(before.cached + before.fresh - 64);
  });

  it("is read by Anthropic's own stream reader", async () => {
    const { body, headers } = claudeCode(product.model, "0d000000-0000-4000-8000-000000000004", "d4c", "Say hi.", 300);
    const client = new Anthropic({
      baseURL: product.url,
      apiKey: product.apiKey,
      maxRetries: 0,
      defaultHeaders: { "x-app": headers["x-app"] ?? "" },
    });
    const tools = [...(body["tools"] as Anthropic.Tool[]), { name: "weather", input_schema: weatherSchema }];
    const params = { ...body, tools, tool_choice: { type: "tool", name: "weather" } } as unknown as Anthropic.MessageStreamParams;
    const final = await client.messages.stream(params).finalMessage();
    expect(final.stop_reason).toBe("tool_use");
    const [call] = final.content;
    weather.parse(call?.type === "tool_use" ? call.input : null);
  });

  it("counts what it would send", async () => {
    const request = claudeCode(product.model, "0e000000-0000-4000-8000-000000000005", "e5b", "Say hi.", 40);
    const { max_tokens: _, stream: __, metadata: ___, ...body } = request.body;
    const answer = await fetch(`${product.url}/v1/messages/count_tokens?beta=true`, {
      method: "POST",
      headers: { "content-type": "application/json", ...request.headers, ...key() },
      body: JSON.stringify(body),
    });
    const { fresh, cached } = await ask("0e000000-0000-4000-8000-000000000005", "e5b", "Say hi.");
    expect(await answer.json()).toEqual({ input_tokens: fresh + cached });
  });
});

describe("Codex", () => {
  const key = () => ({ authorization: `Bearer ${product.apiKey}` });

  async function ask(session: string, question: string): Promise<{ all: number; cached: number; events: ResponseStreamEvent[] }> {
    const { events } = await stream(codex(product.model, session, question, 40), key());
    const parsed = events.map((event) => dataOf(event) as unknown as ResponseStreamEvent);
    expect(parsed.map(({ type }) => type)).toEqual(events.map(({ event }) => event));
    expect(parsed.map(({ sequence_number }) => sequence_number)).toEqual(parsed.map((_, at) => at));
    const last = parsed.at(-1);
    if (last?.type !== "response.completed" && last?.type !== "response.incomplete") throw new Error(`The last event is ${last?.type}.`);
    const { usage } = last.response;
    return { all: usage?.input_tokens ?? 0, cached: usage?.input_tokens_details.cached_tokens ?? 0, events: parsed };
  }

  it("is answered, and a second conversation finds the first one's instructions and tools", async () => {
    const first = await ask("019a0000-0000-7000-8000-000000000001", "Say hi.");
    expect(first.all).toBeGreaterThan(2_000);
    const created = first.events[0];
    expect(created).toMatchObject({
      type: "response.created",
      response: { store: false, prompt_cache_key: "019a0000-0000-7000-8000-000000000001" },
    });
    const second = await ask("019a0000-0000-7000-8000-000000000002", "What is in this folder?");
    expect(second.cached / second.all, `${second.cached} of ${second.all}`).toBeGreaterThan(0.8);
  });

  it("has its namespace's functions called by their own names", async () => {
    const { body } = codex(product.model, "019a0000-0000-7000-8000-000000000003", "Say hi.", 300);
    const client = new OpenAI({ baseURL: `${product.url}/v1`, apiKey: product.apiKey, maxRetries: 0 });
    const tools = [
      {
        type: "namespace",
        name: "agents",
        description: "Other agents",
        tools: [{ type: "function", name: "weather", parameters: weatherSchema }],
      },
    ];
    const params = {
      ...body,
      tools,
      tool_choice: "required",
      parallel_tool_calls: false,
      stream: false,
    } as unknown as OpenAI.Responses.ResponseCreateParamsNonStreaming;
    const [call] = (await client.responses.create(params)).output;
    expect(call).toMatchObject({ type: "function_call", name: "weather", namespace: "agents" });
    weather.parse(JSON.parse(call?.type === "function_call" ? call.arguments : ""));
  });
});
