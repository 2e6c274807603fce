/** Every API of a replica, through the official clients, with a real engine. */
import type OpenAI from "openai";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { LlamaEngine } from "../../gpu-backend/engine/llama-cpp/engine.ts";
import { type AnswerServer, startAnswerServer } from "./answer-server.ts";
import { request, startDemo } from "./engine-runs.ts";

let engine: LlamaEngine;
let server: AnswerServer;
let model: string;
beforeAll(async () => {
  engine = await startDemo({ queueLimit: 8, grammarLimits: "short" });
  server = await startAnswerServer(engine);
  ({ model } = engine.card);
});
afterAll(async () => {
  await server.close();
  await engine.close();
});
beforeEach(() => {
  server.extraHeaders = {};
  server.history = [];
  server.stored.length = 0;
});

const user = (content: string) => [{ role: "user" as const, content }];
const parameters = {
  type: "object",
  properties: { city: { type: "string", enum: ["Bern", "Rome"] }, days: { type: "integer", minimum: 1, maximum: 9 } },
  required: ["city", "days"],
  additionalProperties: false,
};
const weather = { type: "function" as const, function: { name: "weather", description: "Tells it", parameters, strict: true } };
const clock = {
  ...weather,
  function: { ...weather.function, name: "clock", parameters: { type: "object", properties: {}, additionalProperties: false } },
};
const isWeather = expect.objectContaining({ city: expect.stringMatching(/^(Bern|Rome)$/), days: expect.any(Number) });

test("chat: a named tool, whole and streamed", async () => {
  const body = {
    model,
    messages: user("Weather?"),
    tools: [weather, clock],
    tool_choice: { type: "function" as const, function: { name: "weather" } },
    seed: 1,
  };
  const whole = await server.openai.chat.completions.create(body);
  const [choice] = whole.choices;
  expect(choice).toMatchObject({ finish_reason: "tool_calls", message: { content: null } });
  const [call] = choice?.message.tool_calls ?? [];
  if (call?.type !== "function") throw new Error("no call");
  expect(call).toMatchObject({ id: "call_1_0_0", function: { name: "weather" } });
  expect(JSON.parse(call.function.arguments)).toEqual(isWeather);
  const final = await server.openai.chat.completions.stream(body).finalChatCompletion();
  expect(final.choices[0]?.message.tool_calls).toMatchObject([{ function: call.function }]);
});

test("chat: tools required, one call at most", async () => {
  const whole = await server.openai.chat.completions.create({
    model,
    messages: user("Which?"),
    tools: [weather, clock],
    tool_choice: "required",
    parallel_tool_calls: false,
    seed: 2,
  });
  expect(whole.choices[0]).toMatchObject({ finish_reason: "tool_calls" });
  expect(whole.choices[0]?.message.tool_calls).toHaveLength(1);
});

test("chat: json_schema", async () => {
  const format: OpenAI.ResponseFormatJSONSchema = { type: "json_schema", json_schema: { name: "w", schema: parameters, strict: true } };
  const whole = await server.openai.chat.completions.create({ model, messages: user("Weather?"), response_format: format, seed: 3 });
  expect(whole.choices[0]?.finish_reason).toBe("stop");
  expect(JSON.parse(whole.choices[0]?.message.content ?? "")).toEqual(isWeather);
});

test("chat: two choices with logprobs, whole and streamed alike", async () => {
  const body = {
    model,
    messages: user("Say something long to share"),
    n: 2,
    logprobs: true,
    top_logprobs: 2,
    max_tokens: 6,
    seed: 4,
    temperature: 1,
  };
  const whole = await server.openai.chat.completions.create(body);
  expect(whole.choices.map(({ index }) => index)).toEqual([0, 1]);
  expect(whole.choices[0]?.message.content).not.toBe(whole.choices[1]?.message.content);
  for (const { logprobs } of whole.choices) {
    expect(logprobs?.content?.length).toBeGreaterThan(0);
    for (const token of logprobs?.content ?? []) {
      expect(token.logprob).toBeLessThanOrEqual(0);
      expect(token.top_logprobs).toHaveLength(2);
    }
  }
  expect(whole.usage?.completion_tokens).toBeGreaterThan(6);
  const final = await server.openai.chat.completions.stream({ ...body, stream_options: { include_usage: true } }).finalChatCompletion();
  expect(final.choices.map(({ message }) => message.content)).toEqual(whole.choices.map(({ message }) => message.content));
  expect(final.usage?.completion_tokens).toBe(whole.usage?.completion_tokens);
});

test("completions: echo, default length, logprobs", async () => {
  const whole = await server.openai.completions.create({ model, prompt: "Once upon", echo: true, temperature: 0 });
  expect(whole.choices[0]?.text.startsWith("Once upon")).toBe(true);
  expect(whole.usage?.completion_tokens).toBeLessThanOrEqual(16);
  const told = await server.openai.completions.create({ model, prompt: "Once upon", logprobs: 1, temperature: 0 });
  const [choice] = told.choices;
  expect("Once upon" + (choice?.logprobs?.tokens ?? []).join("")).toBe(whole.choices[0]?.text);
  expect(choice?.logprobs?.text_offset?.[0]).toBe(0);
  const streamed = await server.openai.completions.create({ model, prompt: "Once upon", echo: true, temperature: 0, stream: true });
  let text = "";
  for await (const chunk of streamed) text += chunk.choices[0]?.text ?? "";
  expect(text).toBe(whole.choices[0]?.text);
});

test("messages: the client's stream is the whole message", async () => {
  const body = { model, max_tokens: 8, messages: user("Hello there"), system: "Be kind." };
  const whole = await server.anthropic.messages.create(body);
  expect(whole).toMatchObject({ type: "message", role: "assistant", content: [{ type: "text" }] });
  expect(whole.usage.input_tokens).toBeGreaterThan(0);
  const { input_tokens: counted } = await server.anthropic.messages.countTokens({ model, messages: body.messages, system: body.system });
  const streamed = await server.anthropic.messages.stream(body).finalMessage();
  expect(streamed.content[0]).toMatchObject({ type: "text", text: expect.any(String) });
  for (const { usage } of [whole, streamed]) expect(usage.input_tokens + (usage.cache_read_input_tokens ?? 0)).toBe(counted);
});

test("messages: a tool that must be used", async () => {
  const body = {
    model,
    max_tokens: 200,
    messages: user("Weather?"),
    tools: [{ name: "weather", input_schema: { ...parameters, type: "object" as const } }],
    tool_choice: { type: "tool" as const, name: "weather" },
  };
  const streamed = await server.anthropic.messages.stream(body).finalMessage();
  expect(streamed).toMatchObject({ stop_reason: "tool_use", content: [{ type: "tool_use", name: "weather", input: isWeather }] });
});

test("messages: errors in Anthropic's shape", async () => {
  const error: unknown = await server.anthropic.messages
    .create({ model, max_tokens: 8, messages: user("long ".repeat(2_000)) })
    .catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ status: 400, error: { type: "error", error: { type: "invalid_request_error" } } });
});

test("a streamed response is the same as a whole one, and is stored at the edge before its end", async () => {
  server.extraHeaders = { "x-warmpath-result-ticket": "t1" };
  const body = { model, input: "Hello", instructions: "Be brief.", max_output_tokens: 8, temperature: 0 };
  const whole = await server.openai.responses.create(body);
  expect(whole).toMatchObject({ object: "response", output: [{ type: "message" }], instructions: "Be brief." });
  expect(server.stored).toHaveLength(1);
  const [stored] = server.stored;
  expect(stored).toMatchObject({ path: `PUT /internal/results/${whole.id}`, ticket: "t1", body: { inputItems: [{ type: "message" }] } });
  expect(stored?.body.messages).toEqual([
    { role: "user", content: "Hello" },
    { role: "assistant", content: whole.output_text },
  ]);
  expect(stored?.body.response["output"]).toEqual(whole.output);
  const types: string[] = [];
  let text = "";
  for await (const event of await server.openai.responses.create({ ...body, stream: true })) {
    types.push(event.type);
    if (event.type === "response.output_text.delta") text += event.delta;
    if (event.type === "response.completed" || event.type === "response.incomplete") expect(server.stored).toHaveLength(2);
  }
  expect(text).toBe(whole.output_text);
  expect(types.slice(0, 2)).toEqual(["response.created", "response.in_progress"]);
  expect(types.at(-1)).toBe(whole.status === "completed" ? "response.completed" : "response.incomplete");
});

test("responses: the conversation so far comes before the body", async () => {
  const plain = await server.openai.responses.inputTokens.count({ model, input: "And?" });
  server.history = [
    { role: "user", content: "Hello" },
    { role: "assistant", content: "Hi." },
  ];
  const counted = await server.openai.responses.inputTokens.count({ model, input: "And?", previous_response_id: "resp_0" });
  expect(counted).toMatchObject({ object: "response.input_tokens" });
  expect(counted.input_tokens).toBeGreaterThan(plain.input_tokens);
  server.extraHeaders = { "x-warmpath-result-ticket": "t2" };
  server.refusals.push(500);
  const whole = await server.openai.responses.create({ model, input: "And?", previous_response_id: "resp_0", max_output_tokens: 4 });
  expect(whole.previous_response_id).toBe("resp_0");
  expect(whole.usage?.input_tokens).toBe(counted.input_tokens);
  expect(server.stored).toHaveLength(2);
  expect(server.stored[1]?.body.messages).toMatchObject([...server.history, { role: "user", content: "And?" }, { role: "assistant" }]);
});

test("responses: not stored without leave, answered although it can't be", async () => {
  server.extraHeaders = { "x-warmpath-result-ticket": "t3" };
  await server.openai.responses.create({ model, input: "Hello", store: false, max_output_tokens: 2 });
  expect(server.stored).toHaveLength(0);
  server.refusals.push(403);
  expect(await server.openai.responses.create({ model, input: "Hello", max_output_tokens: 2 })).toMatchObject({ object: "response" });
  expect(server.stored).toHaveLength(1);
});

test("responses: a function that must be called, streamed", async () => {
  const tool = { type: "function" as const, name: "weather", parameters, strict: true };
  const stream = server.openai.responses.stream({
    model,
    input: "Weather?",
    tools: [tool],
    tool_choice: { type: "function", name: "weather" },
  });
  const final = await stream.finalResponse();
  const [item] = final.output;
  if (item?.type !== "function_call") throw new Error("no call");
  expect(item).toMatchObject({ name: "weather", status: "completed", call_id: expect.stringMatching(/^call_/) });
  expect(JSON.parse(item.arguments)).toEqual(isWeather);
});

test("what of a schema can't be followed is refused by its path where it is insisted on, else left out alone", async () => {
  const schema = {
    type: "object",
    properties: { a: { type: "string", pattern: "(?<=x)y" } },
    required: ["a"],
    additionalProperties: false,
  };
  const ask = (strict: boolean) =>
    server.openai.chat.completions.create({
      model,
      messages: user("Hi"),
      max_tokens: 20,
      response_format: { type: "json_schema", json_schema: { name: "w", schema, strict } },
    });
  const error: unknown = await ask(true).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ status: 400, param: "response_format.json_schema.schema.properties.a.pattern" });
  expect((await ask(false)).choices[0]?.message.content).toMatch(/^\{"a":"/);
});

test("completions: tokens are what their text is, control tokens too; those that the model lacks are named", async () => {
  const text = "<|im_start|>user\nThe northern path<|im_end|>";
  const prepared = await engine.prepare(request(text));
  if (prepared.type !== "prepared") throw new Error(prepared.message);
  const ask = (prompt: string | number[]) => server.openai.completions.create({ model, prompt, max_tokens: 8, temperature: 0 });
  const [spelled, numbered] = [await ask(text), await ask([...prepared.tokens])];
  expect(numbered.choices[0]?.text).toBe(spelled.choices[0]?.text);
  expect(numbered.usage?.prompt_tokens).toBe(prepared.tokens.length);
  await expect(ask([1, 2, 2048])).rejects.toMatchObject({ status: 400, param: "prompt[2]" });
});

test("an assistant's message at the end is gone on with in the same turn", async () => {
  const begun = [...user("Tell me."), { role: "assistant" as const, content: "Once upon" }];
  const rendered = "<|im_start|>user\nTell me.<|im_end|>\n<|im_start|>assistant\nOnce upon";
  const prepared = await engine.prepare(request(rendered));
  if (prepared.type !== "prepared") throw new Error(prepared.message);
  const text = await server.openai.completions.create({ model, prompt: rendered, max_tokens: 8, temperature: 0 });
  const chat = await server.openai.chat.completions.create({ model, messages: begun, max_tokens: 8, temperature: 0 });
  expect(chat.usage?.prompt_tokens).toBe(prepared.tokens.length);
  expect(chat.choices[0]?.message.content).toBe(text.choices[0]?.text);
  const stream = server.anthropic.messages.stream({ model, messages: begun, max_tokens: 8, temperature: 0 });
  expect(await stream.finalText()).toBe(text.choices[0]?.text);
  const called = await server.openai.chat.completions.create({
    model,
    messages: begun,
    tools: [weather],
    tool_choice: "required",
    parallel_tool_calls: false,
    max_tokens: 100,
  });
  expect(called.choices[0]?.message.tool_calls).toHaveLength(1);
});
