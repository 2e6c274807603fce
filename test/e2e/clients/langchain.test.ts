/** LangChain's ChatOpenAI through chat and through responses. */
import { ContextOverflowError } from "@langchain/core/errors";
import { AIMessage, type AIMessageChunk, HumanMessage, SystemMessage, ToolMessage, type UsageMetadata } from "@langchain/core/messages";
import { ChatOpenAI } from "@langchain/openai";
import { describe, expect, it } from "vitest";
import { LONG, LONG_QUESTION, nothingRuns, productOfWorker, thrown, weather, WEATHER_ABOUT } from "./product.ts";

const product = productOfWorker();

/** Its type is lost in LangChain's generics. */
function usageOf(message: AIMessage | AIMessageChunk): UsageMetadata {
  const usage = message.usage_metadata as UsageMetadata | undefined;
  if (usage === undefined) throw new Error("No usage was told.");
  return usage;
}

describe.each([
  ["chat", false],
  ["responses", true],
])("%s", (_api, useResponsesApi) => {
  const modelOf = (fields: { model?: string; apiKey?: string; maxTokens?: number } = {}): ChatOpenAI =>
    new ChatOpenAI({
      model: product.model,
      apiKey: product.apiKey,
      maxTokens: 30,
      temperature: 0,
      maxRetries: 0,
      useResponsesApi,
      configuration: { baseURL: `${product.url}/v1` },
      ...fields,
    });
  const tools = [
    { type: "function" as const, function: { name: "weather", description: WEATHER_ABOUT, parameters: weather.toJSONSchema() } },
  ];

  it("invokes and streams the same text, with usage", async () => {
    const messages = [new SystemMessage("Be brief."), new HumanMessage("Tell me of the sea. Grüße 🙂")];
    const whole = await modelOf().invoke(messages);
    expect(whole).toBeInstanceOf(AIMessage);
    expect(whole.text).not.toBe("");
    const usage = usageOf(whole);
    expect(usage).toMatchObject({ output_tokens: 30, total_tokens: usage.input_tokens + 30 });
    expect(usage.input_token_details?.cache_read).toBeTypeOf("number");
    const chunks: AIMessageChunk[] = [];
    for await (const chunk of await modelOf().stream(messages)) chunks.push(chunk);
    expect(chunks.map(({ text }) => text).join("")).toBe(whole.text);
    expect(chunks.length).toBeGreaterThan(4);
    const all = chunks.reduce((sofar, chunk) => sofar.concat(chunk));
    expect(usageOf(all)).toMatchObject({ output_tokens: 30, input_tokens: usage.input_tokens });
  });

  it("calls the tool that it must, takes its result, and streams the same call", async () => {
    const bound = modelOf({ maxTokens: 300 }).bindTools(tools, { tool_choice: "weather" });
    const question = new HumanMessage(LONG_QUESTION);
    const answer = await bound.invoke([question]);
    expect(answer.tool_calls).toHaveLength(1);
    const call = answer.tool_calls?.[0];
    expect(call?.name).toBe("weather");
    expect(weather.parse(call?.args)).toEqual(call?.args);
    const result = new ToolMessage({ content: "Rain, 4 °C.", tool_call_id: call?.id ?? "" });
    const next = await modelOf({ maxTokens: 8 }).bindTools(tools).invoke([question, answer, result]);
    expect(usageOf(next).input_token_details?.cache_read).toBeGreaterThan(64);
    const chunks: AIMessageChunk[] = [];
    for await (const chunk of await bound.stream([question])) chunks.push(chunk);
    const all = chunks.reduce((sofar, chunk) => sofar.concat(chunk));
    expect(all.tool_calls?.map(({ name, args }) => ({ name, args }))).toEqual([{ name: "weather", args: call?.args }]);
  });

  it.each(["jsonSchema", "functionCalling"] as const)("withStructuredOutput by %s", async (method) => {
    const structured = modelOf({ maxTokens: 300 }).withStructuredOutput(weather, { name: "weather", method, strict: true });
    weather.parse(await structured.invoke("The weather in Rome?"));
  });

  it("errors say what they are", async () => {
    expect(await thrown(Error, modelOf({ model: "gpt-9" }).invoke("Hi"))).toMatchObject({ status: 404, code: "model_not_found" });
    expect(await thrown(Error, modelOf({ apiKey: "no" }).invoke("Hi"))).toMatchObject({ status: 401, code: "invalid_api_key" });
    const long = await thrown(Error, modelOf().invoke("word ".repeat(20_000)));
    expect(ContextOverflowError.isInstance(long)).toBe(true);
  });

  it("an abort reaches the engine", async () => {
    const controller = new AbortController();
    const reading = (async () => {
      for await (const _ of await modelOf({ maxTokens: 4_000 }).stream(LONG, { signal: controller.signal })) controller.abort();
    })();
    await thrown(Error, reading);
    await nothingRuns(product);
  });
});
