/** OpenAI's own client on responses, the API that it prefers since 2025: made, streamed, kept, gone on from. */
import OpenAI, { BadRequestError, NotFoundError } from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import type {
  FunctionTool,
  Response as ResponseOfClient,
  ResponseInputItem,
  ResponseStreamEvent,
  ResponseUsage,
} from "openai/resources/responses/responses";
import { beforeAll, describe, expect, it } from "vitest";
import type { ResponseObject } from "../../../src/wire/response-object.ts";
import { metric, until } from "../started.ts";
import {
  anyNumber,
  anyString,
  keysOf,
  LONG,
  LONG_QUESTION,
  nothingRuns,
  productOfWorker,
  runningEverywhere,
  thrown,
  weather,
  WEATHER_ABOUT,
  weatherSchema,
} from "./product.ts";
import { RESPONSE_KEYS } from "./response-keys.ts";

const product = productOfWorker();
let client: OpenAI;
let model: string;

beforeAll(() => {
  ({ model } = product);
  client = new OpenAI({ baseURL: `${product.url}/v1`, apiKey: product.apiKey, maxRetries: 0, timeout: 60_000 });
});

/** Compiles only while what we write is what the client's types promise. */
export const usageAsTheClientHasIt = (usage: NonNullable<ResponseObject["usage"]>): ResponseUsage => usage;
export const outputAsTheClientHasIt = (output: ResponseObject["output"]): ResponseOfClient["output"] => output;

const tool: FunctionTool = { type: "function", name: "weather", description: WEATHER_ABOUT, parameters: weatherSchema, strict: true };

async function read(stream: AsyncIterable<ResponseStreamEvent>): Promise<ResponseStreamEvent[]> {
  const events: ResponseStreamEvent[] = [];
  for await (const event of stream) events.push(event);
  return events;
}

/** Without neighbours of the same type. */
const orderOf = (events: readonly ResponseStreamEvent[]): string[] =>
  events.map(({ type }) => type).filter((type, at, all) => type !== all[at - 1]);

function lastOf(events: readonly ResponseStreamEvent[]): ResponseOfClient {
  const last = events.at(-1);
  if (last?.type === "response.completed" || last?.type === "response.incomplete") return last.response;
  throw new Error(`The last event is ${last?.type}.`);
}

describe("create", () => {
  it("answers in OpenAI's shape, and in no other", async () => {
    const { data, request_id } = await client.responses
      .create({
        model,
        input: "Say something.",
        max_output_tokens: 16,
        temperature: 0,
        instructions: "Be brief.",
        metadata: { of: "a test" },
      })
      .withResponse();
    const { output_text: text, _request_id, ...body } = data as ResponseOfClient & { _request_id?: string };
    expect(_request_id).toBe(request_id);
    expect(keysOf(body)).toEqual(RESPONSE_KEYS);
    const id = `resp_${request_id?.slice("req_".length)}`;
    expect(body).toMatchObject({
      id,
      object: "response",
      status: "incomplete",
      incomplete_details: { reason: "max_output_tokens" },
      error: null,
      instructions: "Be brief.",
      metadata: { of: "a test" },
      model,
      temperature: 0,
      max_output_tokens: 16,
      store: true,
      text: { format: { type: "text" } },
    });
    expect(body.output).toStrictEqual([
      {
        id: anyString,
        type: "message",
        role: "assistant",
        status: "incomplete",
        content: [{ type: "output_text", text, annotations: [], logprobs: [] }],
      },
    ]);
    expect(body.usage).toStrictEqual({
      input_tokens: anyNumber,
      input_tokens_details: { cached_tokens: anyNumber, cache_write_tokens: 0 },
      output_tokens: 16,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: (body.usage?.input_tokens ?? 0) + 16,
    });
  });

  it("streams the same answer in the documented order, numbered without a gap", async () => {
    const params = { model, input: "Tell me of the sea. Grüße 🙂", max_output_tokens: 40, temperature: 0 };
    const whole = await client.responses.create(params);
    const events = await read(await client.responses.create({ ...params, stream: true }));
    expect(events.map(({ sequence_number }) => sequence_number)).toEqual(events.map((_, at) => at));
    expect(orderOf(events)).toEqual([
      "response.created",
      "response.in_progress",
      "response.output_item.added",
      "response.content_part.added",
      "response.output_text.delta",
      "response.output_text.done",
      "response.content_part.done",
      "response.output_item.done",
      "response.incomplete",
    ]);
    const text = events.map((event) => (event.type === "response.output_text.delta" ? event.delta : "")).join("");
    expect(text).toBe(whole.output_text);
    const last = lastOf(events);
    expect(keysOf(last)).toEqual(RESPONSE_KEYS);
    const [made, done] = [whole.output[0], last.output[0]];
    expect({ ...done, id: made?.id }).toEqual(made);
    expect(events.find(({ type }) => type === "response.created")).toMatchObject({
      response: { id: last.id, status: "in_progress", output: [] },
    });
    // The client's own reader accumulates to the same.
    const final = await client.responses.stream({ ...params, stream: true }).finalResponse();
    expect(final.output_text).toBe(whole.output_text);
  });

  it("has logprobs of tokens when asked", async () => {
    const include = ["message.output_text.logprobs" as const];
    const params = { model, input: "Say something.", max_output_tokens: 16, include, top_logprobs: 2 };
    const answer = await client.responses.create(params);
    const part = answer.output[0]?.type === "message" ? answer.output[0].content[0] : null;
    if (part?.type !== "output_text") throw new Error("No text was answered.");
    // The token that ends an answer has no text.
    const silent = answer.status === "completed" ? 1 : 0;
    expect(part.logprobs).toHaveLength((answer.usage?.output_tokens ?? 0) - silent);
    expect(part.logprobs?.every(({ logprob, top_logprobs }) => logprob <= 0 && top_logprobs.length === 2)).toBe(true);
    expect(Buffer.from(part.logprobs?.flatMap(({ bytes }) => bytes) ?? []).toString()).toBe(part.text);
  });

  it("writes to a schema, and parses it", async () => {
    const text = { format: zodTextFormat(weather, "weather") };
    const params = { model, input: "The weather, as JSON.", text, max_output_tokens: 200, temperature: 0 };
    const parsed = await client.responses.parse(params);
    expect(parsed.status).toBe("completed");
    expect(weather.parse(parsed.output_parsed)).toEqual(parsed.output_parsed);
    expect((await client.responses.stream(params).finalResponse()).output_parsed).toEqual(parsed.output_parsed);
  });
});

describe("function tools", () => {
  const params = { tools: [tool], tool_choice: { type: "function" as const, name: "weather" }, max_output_tokens: 300, temperature: 0 };

  it("one call, its output, an answer", async () => {
    const input: ResponseInputItem[] = [{ role: "user", content: LONG_QUESTION }];
    const first = await client.responses.create({ ...params, model, input, store: false });
    expect(first.status).toBe("completed");
    expect(first.output).toHaveLength(1);
    const [call] = first.output;
    if (call?.type !== "function_call") throw new Error("No function was called.");
    expect(keysOf(call)).toEqual(["arguments", "call_id", "id", "name", "status", "type"]);
    weather.parse(JSON.parse(call.arguments));
    input.push(call, { type: "function_call_output", call_id: call.call_id, output: "Rain, 4 °C." });
    const second = await client.responses.create({ model, input, tools: [tool], max_output_tokens: 16, store: false });
    expect(second.usage?.input_tokens_details.cached_tokens).toBeGreaterThan(64);
    // The same from what was kept.
    const kept = await client.responses.create({ ...params, model, input: input.slice(0, 1) });
    const keptCall = kept.output[0];
    if (keptCall?.type !== "function_call") throw new Error("No function was called.");
    const output: ResponseInputItem[] = [{ type: "function_call_output", call_id: keptCall.call_id, output: "Rain, 4 °C." }];
    const next = { model, input: output, previous_response_id: kept.id, tools: [tool], max_output_tokens: 16 };
    expect((await client.responses.create(next)).usage?.input_tokens).toBe(
      (await client.responses.inputTokens.count({ model, input, tools: [tool] })).input_tokens,
    );
  });

  it("streamed: arguments in pieces, then whole", async () => {
    const asked = { ...params, model, input: "Rome?" };
    const events = await read(await client.responses.create({ ...asked, stream: true }));
    expect(orderOf(events).slice(2)).toEqual([
      "response.output_item.added",
      "response.function_call_arguments.delta",
      "response.function_call_arguments.done",
      "response.output_item.done",
      "response.completed",
    ]);
    const pieces = events.flatMap((event) => (event.type === "response.function_call_arguments.delta" ? [event.delta] : []));
    expect(pieces.length).toBeGreaterThan(2);
    const whole = await client.responses.create(asked);
    expect(whole.output[0]).toMatchObject({ type: "function_call", arguments: pieces.join("") });
  });
});

describe("what is kept", () => {
  it("is retrieved, listed, gone on from, and deleted", async () => {
    const first = await client.responses.create({ model, input: "Say something.", max_output_tokens: 16, temperature: 0 });
    const { _request_id: _, ...again } = (await client.responses.retrieve(first.id)) as ResponseOfClient & { _request_id?: string };
    const { _request_id: __, ...made } = first as ResponseOfClient & { _request_id?: string };
    expect(again).toEqual(made);
    const streamed = lastOf(await read(await client.responses.create({ model, input: "Hi", max_output_tokens: 16, stream: true })));
    expect((await client.responses.retrieve(streamed.id)).output).toEqual(streamed.output);

    const input = ["one", "two", "three"].map((content) => ({ role: "user" as const, content }));
    const long = await client.responses.create({ model, input, max_output_tokens: 16, previous_response_id: first.id });
    expect(long.previous_response_id).toBe(first.id);
    const texts: unknown[] = [];
    for await (const item of client.responses.inputItems.list(long.id, { order: "asc", limit: 2 })) {
      expect(item).toMatchObject({ type: "message", role: "user", id: anyString });
      texts.push(item.type === "message" ? item.content : null);
    }
    expect(texts).toEqual(["one", "two", "three"]);

    await client.responses.delete(first.id);
    expect(await thrown(NotFoundError, client.responses.retrieve(first.id))).toMatchObject({ status: 404, param: "id" });
    expect(await thrown(NotFoundError, client.responses.delete(first.id))).toMatchObject({ status: 404 });
    const next = client.responses.create({ model, input: "And?", previous_response_id: first.id });
    expect(await thrown(BadRequestError, next)).toMatchObject({
      status: 400,
      param: "previous_response_id",
      code: "previous_response_not_found",
    });
  });

  it("is not, with store: false", async () => {
    const kept = await client.responses.create({ model, input: "Hi", max_output_tokens: 16, store: false });
    expect(kept).toMatchObject({ store: false });
    const { id } = kept;
    await thrown(NotFoundError, client.responses.retrieve(id));
  });
});

describe("errors and leaving", () => {
  it.each([
    ["input", { input: [] }],
    ["input[0].type", { input: [{ type: "item_reference" as const, id: "msg_1" }] }],
    ["temperature", { temperature: 3 }],
    ["tool_choice", { tool_choice: "required" as const }],
    ["background", { background: true }],
    ["input", { input: "word ".repeat(20_000) }],
  ])("names %s", async (param, fields) => {
    const asked = client.responses.create({ model, input: "Hi", max_output_tokens: 16, ...fields });
    expect(await thrown(BadRequestError, asked)).toMatchObject({ status: 400, param, type: "invalid_request_error" });
  });

  it("what a replica refuses leaves its place at once", async () => {
    const tooLong = client.responses.create({ model, input: "word ".repeat(20_000) });
    expect(await thrown(BadRequestError, tooLong)).toMatchObject({ code: "context_length_exceeded" });
    // Not only when the lease that nobody reports on has run out, after 5 s.
    await until("no lease is left", async () => (await metric(product, "warmpath_leases")) === 0, 2_000);
  });

  it("an abort reaches the engine", async () => {
    const params = { model, input: LONG, max_output_tokens: 8_000, temperature: 0, stream: true as const };
    for await (const event of await client.responses.create(params)) if (event.type === "response.output_text.delta") break;
    await nothingRuns(product);
    expect(await runningEverywhere(product)).toBe(0);
  });
});
