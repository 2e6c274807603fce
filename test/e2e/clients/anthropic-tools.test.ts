/** Anthropic's own client against the started product: tools, leaving, and what it tries again. */
import Anthropic, { APIError, APIUserAbortError, BadRequestError, InternalServerError, NotFoundError } from "@anthropic-ai/sdk";
import type { MessageParam, Tool } from "@anthropic-ai/sdk/resources/messages";
import { beforeAll, describe, expect, it } from "vitest";
import { apiError } from "../../../src/errors.ts";
import { errorBody, errorStatus } from "../../../src/wire/envelope.ts";
import {
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

const product = productOfWorker();
let client: Anthropic;
let model: string;

beforeAll(() => {
  ({ model } = product);
  client = new Anthropic({ baseURL: product.url, apiKey: product.apiKey, maxRetries: 0, timeout: 60_000 });
});

const user = (content: string): MessageParam[] => [{ role: "user", content }];
const tool: Tool = { name: "weather", description: WEATHER_ABOUT, input_schema: weatherSchema };
const time: Tool = {
  name: "time",
  input_schema: { type: "object", properties: { zone: { enum: ["utc"] } }, required: ["zone"], additionalProperties: false },
};
/** The client's types know no sampling fields any more; the API still does, and only greedy answers repeat themselves. */
const greedy = { temperature: 0 } as object;

describe("deferred tools", () => {
  it("keep the prefix: what follows the search reuses nearly all of what came before", async () => {
    const search: Tool = {
      name: "ToolSearch",
      input_schema: { type: "object", properties: { query: { enum: ["web"] } }, required: ["query"] },
    };
    const tools: Tool[] = [search, { ...tool, defer_loading: true }, { ...time, defer_loading: true }];
    const question = user(LONG_QUESTION.repeat(3));
    const before = await client.messages.create({
      model,
      max_tokens: 100,
      tools,
      tool_choice: { type: "any" },
      messages: question,
      ...greedy,
    });
    const beforeTokens = before.usage.input_tokens + (before.usage.cache_read_input_tokens ?? 0);
    expect((await client.messages.countTokens({ model, tools: [search], messages: question })).input_tokens).toBe(beforeTokens);
    const [call] = before.content.flatMap((block) => (block.type === "tool_use" ? [block] : []));
    const { data: after, response } = await client.messages
      .create({
        model,
        max_tokens: 200,
        tools,
        tool_choice: { type: "tool", name: "weather" },
        messages: [
          ...question,
          { role: "assistant", content: call === undefined ? [] : [{ type: "tool_use", id: call.id, name: call.name, input: call.input }] },
          {
            role: "user",
            content: [{ type: "tool_result", tool_use_id: call?.id ?? "", content: [{ type: "tool_reference", tool_name: "weather" }] }],
          },
        ],
        ...greedy,
      })
      .withResponse();
    expect(response.status).toBe(200);
    expect((after.usage.cache_read_input_tokens ?? 0) / beforeTokens).toBeGreaterThanOrEqual(0.95);
    const [found] = after.content;
    expect(found).toMatchObject({ type: "tool_use", name: "weather" });
    weather.parse(found?.type === "tool_use" ? found.input : null);
  });
});

describe("tools", () => {
  const ask = (choice: Anthropic.ToolChoice, more: object = {}) =>
    client.messages.create({
      model,
      max_tokens: 300,
      tools: [tool, time],
      tool_choice: choice,
      messages: user(LONG_QUESTION),
      ...greedy,
      ...more,
    });

  it("tool: the one that was named, then its result", async () => {
    const answer = await ask({ type: "tool", name: "weather" });
    expect(answer.stop_reason).toBe("tool_use");
    expect(answer.content).toStrictEqual([
      {
        type: "tool_use",
        id: expect.stringMatching(/^toolu_[\w-]+$/) as string,
        name: "weather",
        input: expect.any(Object) as object,
        caller: { type: "direct" },
      },
    ]);
    const [call] = answer.content;
    if (call?.type !== "tool_use") throw new Error("No tool was called.");
    weather.parse(call.input);
    const next = await client.messages.create({
      model,
      max_tokens: 8,
      tools: [tool, time],
      messages: [
        ...user(LONG_QUESTION),
        { role: "assistant", content: answer.content as Anthropic.ContentBlockParam[] },
        {
          role: "user",
          content: [
            { type: "tool_result", tool_use_id: call.id, content: [{ type: "text", text: "Rain, 4 °C." }] },
            { type: "text", text: "So, an umbrella?" },
          ],
        },
      ],
    });
    expect(next.usage.cache_read_input_tokens).toBeGreaterThan(64);
  });

  it("any: one of them, of one call when calls must not be parallel", async () => {
    const answer = await ask({ type: "any", disable_parallel_tool_use: true });
    expect(answer.stop_reason).toBe("tool_use");
    expect(answer.content).toHaveLength(1);
    expect(answer.content[0]).toMatchObject({ type: "tool_use", name: expect.stringMatching(/^(weather|time)$/) as string });
  });

  it("none and auto: an answer, not an error", async () => {
    const none = await ask({ type: "none" }, { max_tokens: 30 });
    expect(none.content.every((block) => block.type === "text")).toBe(true);
    expect((await ask({ type: "auto" }, { max_tokens: 30 })).content.length).toBeGreaterThan(0);
  });

  it("streamed: the input comes in pieces, and is the whole answer's", async () => {
    const params = {
      model,
      max_tokens: 300,
      tools: [tool],
      tool_choice: { type: "tool" as const, name: "weather" },
      messages: user("Rome?"),
    };
    const stream = client.messages.stream({ ...params, ...greedy });
    const pieces: string[] = [];
    stream.on("inputJson", (piece) => pieces.push(piece));
    const final = await stream.finalMessage();
    const whole = await client.messages.create({ ...params, ...greedy });
    const input = (message: Anthropic.Message): unknown => message.content.map((block) => (block.type === "tool_use" ? block.input : null));
    expect(input(final)).toEqual(input(whole));
    expect(JSON.parse(pieces.join(""))).toEqual((input(whole) as unknown[])[0]);
    expect(pieces.length).toBeGreaterThan(2);
    expect(final.stop_reason).toBe("tool_use");
  });

  it("a tool that is not there is refused by name", async () => {
    const error = await thrown(BadRequestError, ask({ type: "tool", name: "nothing" }));
    expect(error.apiMessage).toContain("tool_choice.name");
  });
});

describe("leaving and retrying", () => {
  const long = { max_tokens: 8_000, messages: user(LONG), ...greedy };

  it("an abort of a stream reaches the engine", async () => {
    const stream = client.messages.stream({ ...long, model });
    await new Promise<void>((resolve) => stream.once("text", () => resolve()));
    expect(await runningEverywhere(product)).toBe(1);
    stream.abort();
    await thrown(APIUserAbortError, stream.finalMessage());
    await nothingRuns(product);
  });

  it("a full fleet's answer is retried, at most as often as the client is set to", async () => {
    const full = { ...apiError("overloaded", "All replicas are busy. Try again shortly."), retryAfterSeconds: 0 };
    let [tries, refusals] = [0, 1];
    const flaky = client.withOptions({
      maxRetries: 1,
      fetch: async (url, init) => {
        tries += 1;
        if (tries > refusals) return fetch(url, init);
        const headers = { "request-id": "req_full", "retry-after": String(full.retryAfterSeconds) };
        return Response.json(errorBody("messages", full, "req_full"), { status: errorStatus("messages", full), headers });
      },
    });
    const params = { model, max_tokens: 1, messages: user("Hi") };
    expect((await flaky.messages.create(params)).type).toBe("message");
    expect(tries).toBe(2);
    [tries, refusals] = [0, 9];
    const error = await thrown(APIError, flaky.messages.create(params));
    expect(error).toBeInstanceOf(InternalServerError);
    expect(error).toMatchObject({ status: 529, type: "overloaded_error", requestID: "req_full" });
    expect(tries).toBe(2);
  });

  it("what cannot succeed is not retried", async () => {
    let tries = 0;
    const counting = client.withOptions({
      maxRetries: 2,
      fetch: (url, init) => {
        tries += 1;
        return fetch(url, init);
      },
    });
    await thrown(NotFoundError, counting.messages.create({ model: "claude-9", max_tokens: 1, messages: user("Hi") }));
    expect(tries).toBe(1);
  });
});
