/** Anthropic's own client against the started product, in the way it calls by default since 1.0 and in the older one that frameworks still use. */
import Anthropic, { AuthenticationError, BadRequestError, NotFoundError } from "@anthropic-ai/sdk";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import type { MessageParam, RawMessageStreamEvent, Tool } from "@anthropic-ai/sdk/resources/messages";
import { beforeAll, describe, expect, it } from "vitest";
import type { Message } from "../../../src/wire/messages-answer.ts";
import { anyNumber, anyString, keysOf, productOfWorker, thrown, weather, WEATHER_ABOUT, weatherSchema } from "./product.ts";

const product = productOfWorker();
const clients = new Map<string, Anthropic>();
/** The default. */
let client: Anthropic;
let model: string;

beforeAll(() => {
  ({ model } = product);
  // No retries: what the client would hide must be seen.
  const options = { baseURL: product.url, apiKey: product.apiKey, maxRetries: 0, timeout: 60_000 };
  client = new Anthropic(options);
  const old = { "anthropic-version": "2023-06-01", "x-api-key": product.apiKey, authorization: null };
  clients.set("2026-10-21, Bearer", client).set("2023-06-01, x-api-key", new Anthropic({ ...options, defaultHeaders: old }));
});

const VERSIONS = ["2026-10-21, Bearer", "2023-06-01, x-api-key"] as const;
const clientOf = (version: string): Anthropic => clients.get(version) ?? client;
const user = (content: string): MessageParam[] => [{ role: "user", content }];
const tool: Tool = { name: "weather", description: WEATHER_ABOUT, input_schema: weatherSchema };
/** The client's types know no sampling fields any more; the API still does, and only greedy answers repeat themselves. */
const greedy = { temperature: 0 } as object;

/** Compiles only while what we write is what the client's types promise. */
export const asTheClientHasIt = (message: Message): Anthropic.Message => message;

const USAGE = {
  input_tokens: anyNumber,
  cache_read_input_tokens: anyNumber,
  cache_creation_input_tokens: 0,
  cache_creation: null,
  output_tokens: anyNumber,
  output_tokens_details: null,
  inference_geo: null,
  server_tool_use: null,
  service_tier: null,
  speed: null,
};

describe.each(VERSIONS)("messages, %s", (version) => {
  it("sends what its name says", async () => {
    let sent = new Headers();
    const spying = clientOf(version).withOptions({
      fetch: (url, init) => {
        sent = new Headers(init?.headers);
        return fetch(url, init);
      },
    });
    await spying.messages.create({ model, max_tokens: 1, messages: user("Hi") });
    expect(sent.get("anthropic-version")).toBe(version.slice(0, 10));
    expect(sent.has("x-api-key")).toBe(version.endsWith("x-api-key"));
    expect(sent.has("authorization")).toBe(version.endsWith("Bearer"));
  });

  it("answers in Anthropic's shape, and in no other", async () => {
    const { data, response, request_id } = await clientOf(version)
      .messages.create({ model, max_tokens: 12, system: "Be brief.", messages: user("Say something."), ...greedy })
      .withResponse();
    expect({ ...data, _request_id: null }).toStrictEqual({
      id: `msg_${request_id?.split("_").at(-1)}`,
      type: "message",
      role: "assistant",
      model,
      content: [{ type: "text", text: anyString, citations: null }],
      stop_reason: "max_tokens",
      stop_sequence: null,
      stop_details: null,
      container: null,
      diagnostics: null,
      usage: { ...USAGE, output_tokens: 12 },
      _request_id: null,
    });
    expect((data as { _request_id?: string })._request_id).toBe(request_id);
    expect(response.headers.get("request-id")).toBe(request_id);
  });

  it("streams the same text in the documented order", async () => {
    const params = { model, max_tokens: 40, messages: user("Tell me of the sea. Grüße 🙂"), ...greedy };
    const whole = await clientOf(version).messages.create(params);
    const stream = clientOf(version).messages.stream(params);
    const events: RawMessageStreamEvent[] = [];
    let text = "";
    stream.on("streamEvent", (event) => events.push(structuredClone(event)));
    stream.on("text", (delta) => (text += delta));
    const final = await stream.finalMessage();
    expect(final.content).toEqual(whole.content);
    expect(await stream.finalText()).toBe(text);
    expect(final).toMatchObject({ stop_reason: whole.stop_reason, usage: { output_tokens: whole.usage.output_tokens } });
    const order = events.map((event) => event.type).filter((type, at, all) => type !== all[at - 1]);
    expect(order).toEqual([
      "message_start",
      "content_block_start",
      "content_block_delta",
      "content_block_stop",
      "message_delta",
      "message_stop",
    ]);
    // Input and cache counts are there from the start, without waiting for the end.
    const first = events[0];
    if (first?.type !== "message_start") throw new Error("The first event is no message_start.");
    expect(first.message).toMatchObject({ content: [], stop_reason: null, usage: { ...USAGE, output_tokens: 0 } });
    expect(first.message.usage.input_tokens + (first.message.usage.cache_read_input_tokens ?? 0)).toBe(
      whole.usage.input_tokens + (whole.usage.cache_read_input_tokens ?? 0),
    );
  });

  it("lists and retrieves the model in Anthropic's shape", async () => {
    const page = await clientOf(version).models.list();
    expect(keysOf(page)).toEqual(expect.arrayContaining(["data", "first_id", "has_more", "last_id"]));
    expect(page.has_more).toBe(false);
    const listed = [];
    for await (const info of page) listed.push(info);
    // As the client's types have it: every key is there.
    expect(listed).toStrictEqual([
      {
        type: "model",
        id: model,
        display_name: model,
        created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string,
        capabilities: null,
        deprecated_at: null,
        lifecycle: "active",
        line: null,
        max_input_tokens: 8192,
        max_tokens: 8192,
        retires_at: null,
      },
    ]);
    expect(await clientOf(version).models.retrieve(model)).toMatchObject(listed[0] ?? {});
  });

  it("errors have their type, status and request id", async () => {
    const asking = (fields: object) =>
      clientOf(version).messages.create({
        model,
        max_tokens: 4,
        messages: user("Hi"),
        ...fields,
      } as Anthropic.MessageCreateParamsNonStreaming);
    const unknown = await thrown(NotFoundError, asking({ model: "claude-9" }));
    expect(unknown).toMatchObject({ status: 404, type: "not_found_error" });
    expect(unknown.apiMessage).toContain("claude-9");
    expect(unknown.requestID).toMatch(/^req_/);
    expect(unknown.error).toStrictEqual({
      type: "error",
      error: { type: "not_found_error", message: unknown.apiMessage },
      request_id: unknown.requestID,
    });
    const bad = await thrown(BadRequestError, asking({ messages: [{ role: "robot", content: "Hi" }] }));
    expect(bad).toMatchObject({ status: 400, type: "invalid_request_error" });
    expect(bad.apiMessage).toContain("messages[0].role");
    expect(await thrown(BadRequestError, asking({ max_tokens: 0 }))).toMatchObject({ type: "invalid_request_error" });
    expect(await thrown(NotFoundError, asking({ model: "claude-9", stream: true }))).toMatchObject({ type: "not_found_error" });
    expect(await thrown(NotFoundError, clientOf(version).models.retrieve("claude-9"))).toMatchObject({ type: "not_found_error" });
    const tooLong = await thrown(BadRequestError, asking({ messages: user("word ".repeat(20_000)) }));
    expect(tooLong).toMatchObject({ status: 400, type: "invalid_request_error" });
    const refusing = clientOf(version).withOptions({ defaultHeaders: { "x-api-key": "no", authorization: "Bearer no" } });
    const stranger = await thrown(AuthenticationError, refusing.messages.create({ model, max_tokens: 4, messages: user("Hi") }));
    expect(stranger).toMatchObject({ status: 401, type: "authentication_error" });
    expect(await thrown(AuthenticationError, refusing.models.list())).toMatchObject({ type: "authentication_error" });
  });
});

describe("stops, counts and formats", () => {
  it("ends before a stop sequence and names it", async () => {
    const params = { model, max_tokens: 60, messages: user("Say something."), ...greedy };
    const whole = await client.messages.create(params);
    const text = whole.content[0]?.type === "text" ? whole.content[0].text : "";
    const stop = text.slice(21, 33);
    expect(stop).toHaveLength(12);
    const expected = {
      content: [{ type: "text", text: text.slice(0, text.indexOf(stop)) }],
      stop_reason: "stop_sequence",
      stop_sequence: stop,
    };
    expect(await client.messages.create({ ...params, stop_sequences: ["\u0000never", stop] })).toMatchObject(expected);
    expect(await client.messages.stream({ ...params, stop_sequences: [stop] }).finalMessage()).toMatchObject(expected);
  });

  it("counts the tokens that an answer then has", async () => {
    const params = { model, system: "Be brief.", tools: [tool], messages: user("How is the weather in Oslo?") };
    const { input_tokens: counted, ...rest } = await client.messages.countTokens(params);
    expect(rest).toEqual({});
    const { usage } = await client.messages.create({ ...params, max_tokens: 1 });
    expect(counted).toBe(usage.input_tokens + (usage.cache_read_input_tokens ?? 0));
    expect(counted).toBeGreaterThan((await client.messages.countTokens({ model, messages: params.messages })).input_tokens);
  });

  it("writes to a schema, whole and streamed", async () => {
    const params = {
      model,
      max_tokens: 200,
      messages: user("The weather, as JSON."),
      output_config: { format: zodOutputFormat(weather) },
      ...greedy,
    };
    const parsed = await client.messages.parse(params);
    expect(weather.parse(parsed.parsed_output)).toEqual(parsed.parsed_output);
    expect(parsed.stop_reason).toBe("end_turn");
    const streamed = await client.messages.stream(params).finalMessage();
    expect(streamed.parsed_output).toEqual(parsed.parsed_output);
  });

  it("a second turn reads from the cache, and counts it apart", async () => {
    const messages = user(`Mind the rules. ${"Keep to the northern path and do not stray. ".repeat(40)}`);
    const first = await client.messages.create({ model, max_tokens: 8, messages, ...greedy });
    messages.push({ role: "assistant", content: first.content as Anthropic.ContentBlockParam[] }, { role: "user", content: "And then?" });
    const all = (usage: Anthropic.Usage): number => usage.input_tokens + (usage.cache_read_input_tokens ?? 0);
    const second = await client.messages.create({ model, max_tokens: 8, messages, ...greedy });
    expect(second.usage.cache_read_input_tokens).toBeGreaterThan(all(first.usage) - 64);
    expect(second.usage.input_tokens).toBeLessThan(128);
  });
});
