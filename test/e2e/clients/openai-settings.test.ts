/** OpenAI's own client: completions, and those settings of chat that openai-client.test.ts does not try. */
import OpenAI, { BadRequestError } from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import type { ChatCompletionMessageParam } from "openai/resources/chat/completions";
import type { Completion } from "openai/resources/completions";
import { beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import type { ChatChunk, ChatCompletion } from "../../../src/wire/chat-answer.ts";
import type { TextCompletion } from "../../../src/wire/completion-answer.ts";
import { anyNumber, anyString, productOfWorker, thrown, weather } from "./product.ts";

const product = productOfWorker();
let client: OpenAI;
let model: string;

beforeAll(() => {
  ({ model } = product);
  client = new OpenAI({ baseURL: `${product.url}/v1`, apiKey: product.apiKey, maxRetries: 0, timeout: 60_000 });
});

/** Compiles only while what we write is what the client's types promise. */
export const chatAsTheClientHasIt = (answer: ChatCompletion): OpenAI.ChatCompletion => answer;
export const chunkAsTheClientHasIt = (chunk: ChatChunk): Omit<OpenAI.ChatCompletionChunk, "usage"> => chunk;
export const completionAsTheClientHasIt = (answer: TextCompletion): Completion => answer;

const user = (content: string): ChatCompletionMessageParam[] => [{ role: "user", content }];

describe("chat", () => {
  it("n choices, whole and streamed", async () => {
    const params = { model, n: 2, max_tokens: 12, temperature: 1, seed: 5, messages: user("Dice?") };
    const whole = await client.chat.completions.create(params);
    expect(whole.choices.map(({ index }) => index)).toEqual([0, 1]);
    const texts = whole.choices.map(({ message }) => message.content);
    expect(texts[0]).not.toBe(texts[1]);
    expect(whole.usage?.completion_tokens).toBeGreaterThan(12);
    const streamed = ["", ""];
    for await (const { choices } of await client.chat.completions.create({ ...params, stream: true }))
      for (const { index, delta } of choices) streamed[index] += delta.content ?? "";
    expect(streamed).toEqual(texts);
  });

  it("logprobs, whole and streamed", async () => {
    const params = { model, max_tokens: 12, temperature: 0, logprobs: true, top_logprobs: 3, messages: user("Say something.") };
    const { logprobs, message } = (await client.chat.completions.create(params)).choices[0] ?? {};
    const content = logprobs?.content ?? [];
    expect(content).toHaveLength(12);
    expect(logprobs?.refusal).toBeNull();
    for (const { token, logprob, top_logprobs: top } of content) {
      expect(top).toHaveLength(3);
      expect(top.map((entry) => entry.logprob)).toEqual(top.map((entry) => entry.logprob).toSorted((a, b) => b - a));
      // Greedy: the likeliest was taken.
      expect(top[0]).toMatchObject({ token, logprob });
    }
    expect(Buffer.from(content.flatMap(({ bytes }) => bytes ?? [])).toString()).toBe(message?.content);
    const streamed: string[] = [];
    for await (const { choices } of await client.chat.completions.create({ ...params, stream: true }))
      streamed.push(...(choices[0]?.logprobs?.content?.map(({ token }) => token) ?? []));
    expect(streamed).toEqual(content.map(({ token }) => token));
  });

  it("logit_bias keeps a token out", async () => {
    const params = { model, max_tokens: 1, temperature: 0, logprobs: true, top_logprobs: 2, messages: user("Say something.") };
    const tokenOf = async (more: object): Promise<unknown> =>
      (await client.chat.completions.create({ ...params, ...more })).choices[0]?.logprobs?.content?.[0]?.token;
    const likeliest = await tokenOf({});
    // No answer tells a token's id. It is in one half of the demo model's 2,048 tokens, and only without that half another one is taken.
    const halves = [0, 1_024].map((first) => Object.fromEntries(Array.from({ length: 1_024 }, (_, at) => [String(first + at), -100])));
    const tokens = [await tokenOf({ logit_bias: halves[0] }), await tokenOf({ logit_bias: halves[1] })];
    expect(tokens.filter((token) => token === likeliest)).toHaveLength(1);
    await thrown(BadRequestError, client.chat.completions.create({ ...params, logit_bias: { "5": 101 } }));
  });

  it("zodResponseFormat, parsed and streamed", async () => {
    const params = {
      model,
      max_tokens: 200,
      temperature: 0,
      messages: user("The weather, as JSON."),
      response_format: zodResponseFormat(weather, "weather"),
    };
    const parsed = (await client.chat.completions.parse(params)).choices[0]?.message.parsed;
    expect(weather.parse(parsed)).toEqual(parsed);
    const streamed = await client.chat.completions.stream(params).finalChatCompletion();
    expect(streamed.choices[0]?.message.parsed).toEqual(parsed);
    const loose = await client.chat.completions.create({ ...params, max_tokens: 400, response_format: { type: "json_object" } });
    if (loose.choices[0]?.finish_reason === "stop") expect(JSON.parse(loose.choices[0].message.content ?? "")).toBeTypeOf("object");
  });

  it("zodResponseFormat with patterns, formats, lengths and steps", async () => {
    const card = z.strictObject({
      id: z.uuid(),
      mail: z.email(),
      at: z.iso.datetime(),
      code: z.string().regex(/^[A-Z]{3}$/),
      short: z.string().min(1).max(4),
      dozen: z.int().multipleOf(12).min(0).max(1_200),
    });
    const response_format = zodResponseFormat(card, "card");
    for (let seed = 1; seed <= 3; seed += 1) {
      const params = { model, max_tokens: 1_000, seed, messages: user("A card."), response_format };
      const parsed = (await client.chat.completions.parse(params)).choices[0]?.message.parsed;
      expect(card.parse(parsed)).toEqual(parsed);
    }
  });

  it("zodFunction, by runTools to the end of the round trip", async () => {
    const asked: unknown[] = [];
    const tools = [zodFunction({ name: "weather", parameters: weather, function: (given) => (asked.push(given), "Rain.") })];
    const runner = client.chat.completions.runTools(
      { model, max_tokens: 300, temperature: 0, messages: user("Oslo?"), tools, tool_choice: "required", parallel_tool_calls: false },
      { maxChatCompletions: 2 },
    );
    await runner.done();
    expect(asked.length).toBeGreaterThan(0);
    for (const given of asked) weather.parse(given);
    const roles = runner.messages.map(({ role }) => role);
    expect(roles.slice(0, 3)).toEqual(["user", "assistant", "tool"]);
  });

  it("tool calls have OpenAI's keys only, whole and streamed", async () => {
    const tools = [zodFunction({ name: "weather", parameters: weather })];
    const choice = { type: "function" as const, function: { name: "weather" } };
    const params = { model, max_tokens: 300, temperature: 0, messages: user("Rome?"), tools, tool_choice: choice };
    const whole = (await client.chat.completions.create(params)).choices[0];
    expect(whole).toStrictEqual({
      index: 0,
      message: {
        role: "assistant",
        content: null,
        refusal: null,
        tool_calls: [{ id: anyString, type: "function", function: { name: "weather", arguments: anyString } }],
      },
      logprobs: null,
      finish_reason: "tool_calls",
    });
    const calls: OpenAI.ChatCompletionChunk.Choice.Delta.ToolCall[] = [];
    for await (const { choices } of await client.chat.completions.create({ ...params, stream: true }))
      calls.push(...(choices[0]?.delta.tool_calls ?? []));
    expect(calls[0]).toStrictEqual({ index: 0, id: anyString, type: "function", function: { name: "weather", arguments: "" } });
    expect(calls.slice(1).every((call) => call.id === undefined && call.function?.name === undefined)).toBe(true);
    const call = whole?.message.tool_calls?.[0];
    expect(calls.map((piece) => piece.function?.arguments ?? "").join("")).toBe(call?.type === "function" ? call.function.arguments : null);
  });

  it("penalties change a greedy answer", async () => {
    const params = { model, max_tokens: 120, temperature: 0, messages: user("Tell me everything.") };
    const text = async (more: object): Promise<unknown> =>
      (await client.chat.completions.create({ ...params, ...more })).choices[0]?.message.content;
    expect(await text({ frequency_penalty: 2, presence_penalty: 2 })).not.toBe(await text({}));
  });

  it("a schema that cannot be followed is refused by name", async () => {
    const response_format = zodResponseFormat(z.strictObject({ a: z.string() }), "x");
    response_format.json_schema.schema = { type: "no such type" };
    const error = await thrown(BadRequestError, client.chat.completions.create({ model, messages: user("Hi"), response_format }));
    expect(error.param).toBe("response_format.json_schema.schema.type");
    response_format.json_schema.schema = { type: "object", properties: { n: { type: "integer", minimum: 5, maximum: 2 } } };
    const range = await thrown(BadRequestError, client.chat.completions.create({ model, messages: user("Hi"), response_format }));
    expect(range.param).toBe("response_format.json_schema.schema.properties.n");
  });
});

describe("completions", () => {
  it("answer in OpenAI's shape, and in no other, and stream the same", async () => {
    const params = { model, prompt: "Once upon a time", max_tokens: 12, temperature: 0, logprobs: 2 };
    const { data, request_id } = await client.completions.create(params).withResponse();
    expect({ ...data, _request_id: request_id }).toStrictEqual({
      id: `cmpl-${request_id?.split("_").at(-1)}`,
      object: "text_completion",
      created: anyNumber,
      model,
      choices: [{ index: 0, text: anyString, finish_reason: "length", logprobs: expect.any(Object) as object }],
      usage: {
        prompt_tokens: anyNumber,
        completion_tokens: 12,
        total_tokens: anyNumber,
        prompt_tokens_details: { cached_tokens: anyNumber },
      },
      _request_id: request_id,
    });
    const { logprobs, text } = data.choices[0] ?? {};
    expect(logprobs?.tokens).toHaveLength(12);
    expect(logprobs?.tokens?.join("")).toBe(text);
    expect(logprobs?.text_offset?.[0]).toBe(0);
    let streamed = "";
    for await (const { choices } of await client.completions.create({ ...params, stream: true })) streamed += choices[0]?.text ?? "";
    expect(streamed).toBe(text);
  });

  it("echo, n, stop and the default of 16 tokens", async () => {
    const prompt = "Once upon a time";
    const echoed = await client.completions.create({ model, prompt, echo: true, n: 2, temperature: 1, seed: 1 });
    expect(echoed.choices).toHaveLength(2);
    expect(echoed.choices.every(({ text }) => text.startsWith(prompt))).toBe(true);
    expect(echoed.usage?.completion_tokens).toBeLessThanOrEqual(32);
    const text = (await client.completions.create({ model, prompt, temperature: 0 })).choices[0]?.text ?? "";
    const stop = text.slice(8, 14);
    const stopped = await client.completions.create({ model, prompt, temperature: 0, stop });
    expect(stopped.choices[0]).toMatchObject({ text: text.slice(0, text.indexOf(stop)), finish_reason: "stop" });
    const tokens = client.completions.create({ model, prompt: [1, 2, 3], echo: true });
    expect(await thrown(BadRequestError, tokens)).toMatchObject({ param: "echo" });
  });
});
