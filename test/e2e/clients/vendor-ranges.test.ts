/** What the vendors' APIs take and give at the edges of their documents, by the official clients against the started product. */
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { beforeAll, describe, expect, test } from "vitest";
import { until } from "../started.ts";
import { productOfWorker, runningEverywhere, thrown, thrownBy, WEATHER_ABOUT, weatherSchema } from "./product.ts";

const product = productOfWorker();
let openai: OpenAI;
let anthropic: Anthropic;
beforeAll(() => {
  const { url, apiKey } = product;
  openai = new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
  anthropic = new Anthropic({ baseURL: url, apiKey, maxRetries: 0 });
});
const user = (content: string) => ({ role: "user" as const, content });

describe("completions of several prompts", () => {
  const prompts = ["Once upon a time", "The weather in Oslo is", "A list of northern paths:", "Hello", "And then there were five"];
  const ask = () => ({ model: product.model, temperature: 0, max_tokens: 6 });

  test("are one answer, each choice what its prompt alone gets", async () => {
    const [whole, ...alone] = await Promise.all([
      openai.completions.create({ ...ask(), prompt: prompts, n: 2 }),
      ...prompts.map((prompt) => openai.completions.create({ ...ask(), prompt })),
    ]);
    expect(whole.choices.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(whole.choices.map(({ text }) => text)).toEqual(alone.flatMap(({ choices }) => [choices[0]?.text, choices[0]?.text]));
    expect(whole.usage?.prompt_tokens).toBe(alone.reduce((sum, { usage }) => sum + (usage?.prompt_tokens ?? 0), 0));
    expect(whole.usage?.total_tokens).toBe((whole.usage?.prompt_tokens ?? 0) + (whole.usage?.completion_tokens ?? 0));
  });

  test("stream side by side under one id, with one usage", async () => {
    const whole = await openai.completions.create({ ...ask(), prompt: prompts });
    const stream = await openai.completions.create({ ...ask(), prompt: prompts, stream: true, stream_options: { include_usage: true } });
    const texts = new Map<number, string>();
    const ids = new Set<string>();
    const usages: unknown[] = [];
    const ended: number[] = [];
    for await (const chunk of stream) {
      ids.add(chunk.id);
      if (chunk.usage) usages.push(chunk.usage);
      for (const { index, text, finish_reason: reason } of chunk.choices as {
        index: number;
        text: string;
        finish_reason: string | null;
      }[]) {
        texts.set(index, (texts.get(index) ?? "") + text);
        if (reason !== null) ended.push(index);
      }
    }
    expect([...texts].toSorted(([a], [b]) => a - b).map(([, text]) => text)).toEqual(whole.choices.map(({ text }) => text));
    expect(ended.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4]);
    expect(ids.size).toBe(1);
    expect(usages).toMatchObject([{ prompt_tokens: whole.usage?.prompt_tokens, completion_tokens: whole.usage?.completion_tokens }]);
  });

  test("are refused with the path of the one that is wrong", async () => {
    const long = "word ".repeat(20_000);
    const params: [unknown, string][] = [
      [["a", ""], "prompt[1]"],
      [["a", 5], "prompt[1]"],
      [["a", ["b"]], "prompt[1]"],
      [
        [
          [1, 2],
          [3, -1],
        ],
        "prompt[1][1]",
      ],
      [
        [
          [1, 2],
          [3, 999_999],
        ],
        "prompt[1][1]",
      ],
      [[long, "a"], "prompt[0]"],
    ];
    for (const [prompt, param] of params) {
      const refused = await thrown(OpenAI.BadRequestError, openai.completions.create({ ...ask(), prompt: prompt as string[] }));
      expect(refused.param).toBe(param);
    }
    const both = await thrown(OpenAI.BadRequestError, openai.completions.create({ ...ask(), prompt: [[1, 2], []], echo: true }));
    expect(both.param).toBe("prompt[1]");
    const streamed = await openai.completions.create({
      ...ask(),
      prompt: [
        [1, 2],
        [3, 999_999],
      ],
      stream: true,
    });
    const broken = await thrown(
      OpenAI.APIError,
      (async () => {
        for await (const _ of streamed);
      })(),
    );
    expect(broken.param).toBe("prompt[1][1]");
    const unknown = await thrown(OpenAI.BadRequestError, openai.completions.create({ ...ask(), prompt: [3, 999_999] }));
    expect(unknown.param).toBe("prompt[1]");
  });
});

test("several prompts stop when their client leaves, streamed or not", async () => {
  const prompts = Array.from({ length: 6 }, (_, index) => `${index} ${"and on and on ".repeat(20)}`);
  for (const stream of [false, true]) {
    const left = new AbortController();
    const body = JSON.stringify({
      model: product.model,
      prompt: prompts,
      max_tokens: 7_000,
      temperature: 0,
      stream,
      logit_bias: { "0": -100 },
    });
    const asked = fetch(`${product.url}/v1/completions`, { method: "POST", headers: product.headers, body, signal: left.signal });
    const gone = thrownBy(asked.then((answer) => answer.text()));
    await until("they run", async () => (await runningEverywhere(product)) > 0);
    left.abort();
    await gone;
    await until("nothing runs", async () => (await runningEverywhere(product)) === 0, 8_000);
  }
});

test("a prompt of tokens is found in the cache again, and no text that looks like it is", async () => {
  // So many that it costs more elsewhere, whatever the replicas have just been doing.
  const tokens = Array.from({ length: 800 }, (_, index) => 40 + (index % 90));
  const ask = (prompt: number[] | string) => openai.completions.create({ model: product.model, temperature: 0, max_tokens: 4, prompt });
  const first = await ask(tokens);
  const second = await ask([...tokens, 50, 51, 52]);
  expect([first.usage?.prompt_tokens, second.usage?.prompt_tokens]).toEqual([800, 803]);
  expect(second.usage?.prompt_tokens_details?.cached_tokens).toBeGreaterThanOrEqual(760);
  expect((await ask(tokens.map((token) => `${token},`).join(""))).usage?.prompt_tokens_details?.cached_tokens).toBe(0);
});

test("top_p 0 is greedy whatever the seed; long seeds repeat", async () => {
  const ask = async (more: object) =>
    (await openai.chat.completions.create({ model: product.model, messages: [user("Tell me.")], max_tokens: 12, ...more })).choices[0]
      ?.message.content;
  const greedy = await ask({ temperature: 0 });
  expect(await Promise.all([1, 2].map((seed) => ask({ top_p: 0, temperature: 2, seed })))).toEqual([greedy, greedy]);
  const long = { seed: 2 ** 63, temperature: 1.5 };
  expect(await ask(long)).toBe(await ask(long));
  expect(await ask({ ...long, seed: 1_024 - 2 ** 63 })).not.toBe(await ask(long));
  await ask({ reasoning_effort: "max" });
});

test("an assistant's message at the end is gone on with: an empty one costs nothing, a word only itself", async () => {
  const { model } = product;
  const count = async (...said: { role: "user" | "assistant"; content: string }[]) =>
    (await anthropic.messages.countTokens({ model, messages: said })).input_tokens;
  const begun = { role: "assistant" as const, content: "Once" };
  const alone = await count(user("Tell me."));
  expect(await count(user("Tell me."), { role: "assistant", content: "" })).toBe(alone);
  const more = (await count(user("Tell me."), begun)) - alone;
  expect(more).toBeGreaterThan(0);
  expect(more).toBeLessThanOrEqual(4);
  const messages = [user("Tell me."), begun];
  const answer = await anthropic.messages.create({ model, max_tokens: 8, messages });
  expect(answer.usage.input_tokens + (answer.usage.cache_read_input_tokens ?? 0)).toBe(alone + more);
  const chat = await openai.chat.completions.create({ model, max_tokens: 8, messages, temperature: 0 });
  expect(chat.usage?.prompt_tokens).toBe(alone + more);
  const response = await openai.responses.create({ model, max_output_tokens: 8, input: messages, temperature: 0 });
  expect(response.usage?.input_tokens).toBe(alone + more);
  expect(response.output_text).toBe(chat.choices[0]?.message.content);
  // The begun message and what was written on it are one message of the conversation that is stored.
  const next = await openai.responses.inputTokens.count({ model, previous_response_id: response.id, input: "And then?" });
  const spelled = [user("Tell me."), { role: "assistant" as const, content: `Once${response.output_text}` }, user("And then?")];
  expect(next.input_tokens).toBe(await count(...spelled));
});

test("calls that wait for their results are refused, in every API", async () => {
  const { model } = product;
  const calls = [{ id: "c", type: "function" as const, function: { name: "f", arguments: "{}" } }];
  const chat = openai.chat.completions.create({ model, messages: [user("hi"), { role: "assistant", content: null, tool_calls: calls }] });
  expect((await thrown(OpenAI.BadRequestError, chat)).param).toBe("messages[1]");
  const called = { type: "function_call" as const, call_id: "c", name: "f", arguments: "{}" };
  const response = openai.responses.create({ model, input: [user("hi"), called] });
  expect((await thrown(OpenAI.BadRequestError, response)).param).toBe("input[1]");
  const used = { role: "assistant" as const, content: [{ type: "tool_use" as const, id: "t", name: "f", input: {} }] };
  const message = anthropic.messages.create({ model, max_tokens: 4, messages: [user("hi"), used] });
  expect((await thrown(Anthropic.BadRequestError, message)).message).toContain("`messages[1]`");
});

test("ids of calls are short and their own", async () => {
  const { model } = product;
  const parameters = { ...weatherSchema };
  const tools = [{ type: "function" as const, function: { name: "weather", description: WEATHER_ABOUT, parameters, strict: true } }];
  const chat = await openai.chat.completions.create({
    model,
    messages: [user("hi")],
    tools,
    tool_choice: "required",
    n: 2,
    max_tokens: 200,
  });
  const message = await anthropic.messages.create({
    model,
    max_tokens: 200,
    messages: [user("hi")],
    tools: [{ name: "weather", input_schema: weatherSchema }],
    tool_choice: { type: "any" },
  });
  const ids = [
    ...chat.choices.flatMap((choice) => choice.message.tool_calls?.map(({ id }) => id) ?? []),
    ...message.content.flatMap((block) => (block.type === "tool_use" ? [block.id] : [])),
  ];
  expect(ids.length).toBeGreaterThanOrEqual(3);
  expect(new Set(ids).size).toBe(ids.length);
  for (const id of ids) expect(id.length).toBeLessThanOrEqual(40);
});

test("responses: what was completed when, what does not exist, what is not done", async () => {
  const { model } = product;
  const response = await openai.responses.create({
    model,
    input: "hi",
    max_output_tokens: 200,
    temperature: 0,
    presence_penalty: 0.1,
  } as never);
  const raw = response as OpenAI.Responses.Response & { presence_penalty: number };
  expect(raw.presence_penalty).toBe(0.1);
  if (raw.status === "completed") expect(raw.completed_at).toBeGreaterThanOrEqual(raw.created_at);
  else expect(raw.completed_at).toBeNull();
  expect(await openai.responses.retrieve(raw.id)).toMatchObject({ status: raw.status, completed_at: raw.completed_at ?? null });
  for (const previous of ["resp_nothing", "resp_default_0123456789abcdef0123456789abcdef"]) {
    const lost = await thrown(OpenAI.BadRequestError, openai.responses.create({ model, input: "hi", previous_response_id: previous }));
    expect([lost.code, lost.param]).toEqual(["previous_response_not_found", "previous_response_id"]);
  }
  expect((await thrown(OpenAI.BadRequestError, openai.responses.create({ model, input: "hi", truncation: "auto" }))).param).toBe(
    "truncation",
  );
});

test("the model's context stands in every shape that clients read", async () => {
  const told = (await openai.models.retrieve(product.model)) as unknown as Record<string, unknown>;
  expect(told).toMatchObject({ max_model_len: 8192, context_length: 8192, max_input_tokens: 8192 });
  expect(await anthropic.models.retrieve(product.model)).toMatchObject({ max_input_tokens: 8192, max_tokens: 8192 });
});

test("a schema that can't be is refused with its path, the beta's too", async () => {
  const bad = {
    type: "object",
    properties: { n: { type: "integer", minimum: 5, maximum: 2 } },
    required: ["n"],
    additionalProperties: false,
  };
  const ask = async (path: string, body: object) => {
    const answer = await fetch(product.url + path, {
      method: "POST",
      headers: product.headers,
      body: JSON.stringify({ model: product.model, max_tokens: 4, messages: [user("hi")], ...body }),
    });
    expect(answer.status).toBe(400);
    return ((await answer.json()) as { error: { message: string; param?: string } }).error;
  };
  const format = { type: "json_schema", schema: bad };
  expect((await ask("/v1/messages", { output_format: format })).message).toContain("`output_format.schema.properties.n`");
  expect((await ask("/v1/messages", { output_config: { format } })).message).toContain("`output_config.format.schema.properties.n`");
  const named = { name: "n", schema: bad, strict: true };
  expect((await ask("/v1/chat/completions", { response_format: { type: "json_schema", json_schema: named } })).param).toBe(
    "response_format.json_schema.schema.properties.n",
  );
  expect((await ask("/v1/responses", { input: "hi", text: { format: { type: "json_schema", ...named } } })).param).toBe(
    "text.format.schema.properties.n",
  );
  const tool = { name: "f", parameters: bad, strict: true };
  const forced = { tools: [{ type: "function", function: tool }], tool_choice: "required" };
  expect((await ask("/v1/chat/completions", forced)).param).toBe("tools[0].function.parameters.properties.n");
  expect((await ask("/v1/responses", { input: "hi", tools: [{ type: "function", ...tool }], tool_choice: "required" })).param).toBe(
    "tools[0].parameters.properties.n",
  );
  const used = { tools: [{ name: "f", input_schema: bad }], tool_choice: { type: "any" } };
  expect((await ask("/v1/messages", used)).message).toContain("`tools[0].input_schema.properties.n`");
});
