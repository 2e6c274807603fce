/** Vercel's AI SDK by its three providers: chat through the compatible one, responses through OpenAI's, messages through Anthropic's. */
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateText, isStepCount, type LanguageModel, Output, streamText, tool } from "ai";
import { describe, expect, it } from "vitest";
import { until } from "../started.ts";
import { LONG, nothingRuns, productOfWorker, runningEverywhere, thrown, weather, WEATHER_ABOUT } from "./product.ts";

const product = productOfWorker();

const PROVIDERS: Record<string, (name: string, key: string) => LanguageModel> = {
  "openai-compatible": (name, apiKey) =>
    createOpenAICompatible({ name: "warmpath", baseURL: `${product.url}/v1`, apiKey, includeUsage: true, supportsStructuredOutputs: true })(
      name,
    ),
  "openai, responses": (name, apiKey) => createOpenAI({ baseURL: `${product.url}/v1`, apiKey }).responses(name),
  "openai, chat": (name, apiKey) => createOpenAI({ baseURL: `${product.url}/v1`, apiKey }).chat(name),
  anthropic: (name, apiKey) => createAnthropic({ baseURL: `${product.url}/v1`, apiKey })(name),
};

describe.each(Object.keys(PROVIDERS))("%s", (provider) => {
  const modelOf = (name = product.model, key = product.apiKey): LanguageModel => {
    const make = PROVIDERS[provider];
    if (make === undefined) throw new Error("No such provider.");
    return make(name, key);
  };
  const common = () => ({ model: modelOf(), temperature: 0, maxRetries: 0 });
  const tools = () => ({ weather: tool({ description: WEATHER_ABOUT, inputSchema: weather, execute: () => "Rain, 4 °C." }) });

  it("generateText and streamText, the same text, with usage", async () => {
    const params = { ...common(), maxOutputTokens: 30, instructions: "Be brief.", prompt: "Tell me of the sea. Grüße 🙂" };
    const whole = await generateText(params);
    expect(whole.text).not.toBe("");
    expect(whole.finishReason).toBe("length");
    expect(whole.usage).toMatchObject({ outputTokens: 30, totalTokens: (whole.usage.inputTokens ?? 0) + 30 });
    expect(whole.usage.inputTokens).toBeGreaterThan(10);
    const stream = streamText(params);
    let text = "";
    for await (const piece of stream.textStream) text += piece;
    expect(text).toBe(whole.text);
    expect(await stream.finishReason).toBe("length");
    expect((await stream.usage).outputTokens).toBe(30);
    expect((await stream.usage).inputTokens).toBe(whole.usage.inputTokens);
  });

  it("sees what came from the cache", async () => {
    const prompt = `For ${provider}: ${"keep to the northern path and do not stray. ".repeat(40)}`;
    const first = await generateText({ ...common(), maxOutputTokens: 8, prompt });
    const messages = [
      { role: "user" as const, content: prompt },
      { role: "assistant" as const, content: first.text },
      { role: "user" as const, content: "And then?" },
    ];
    const { usage } = await generateText({ ...common(), maxOutputTokens: 8, messages });
    expect(usage.inputTokens).toBeGreaterThan(first.usage.inputTokens ?? 0);
    expect(usage.inputTokenDetails.cacheReadTokens).toBeGreaterThan((first.usage.inputTokens ?? 0) - 64);
    expect(usage.inputTokenDetails.cacheReadTokens).toBeLessThan(usage.inputTokens ?? 0);
  });

  it("calls the tool that it must, and goes on with its result", async () => {
    const params = {
      ...common(),
      maxOutputTokens: 300,
      tools: tools(),
      toolChoice: { type: "tool" as const, toolName: "weather" as const },
    };
    const one = await generateText({ ...params, prompt: "How is the weather in Oslo?" });
    expect(one.finishReason).toBe("tool-calls");
    expect(one.toolCalls).toHaveLength(1);
    expect(weather.parse(one.toolCalls[0]?.input)).toEqual(one.toolCalls[0]?.input);
    expect(one.toolResults[0]).toMatchObject({ toolName: "weather", output: "Rain, 4 °C." });
    const steps: string[] = [];
    const loop = await generateText({
      ...params,
      prompt: "How is the weather in Oslo?",
      stopWhen: isStepCount(2),
      prepareStep: ({ stepNumber }) => (stepNumber === 0 ? {} : { toolChoice: "none" as const, activeTools: [] }),
      onStepEnd: ({ finishReason }) => void steps.push(finishReason),
    });
    expect(loop.steps).toHaveLength(2);
    expect(steps[0]).toBe("tool-calls");
  });

  it("streams the tool's input", async () => {
    const stream = streamText({ ...common(), maxOutputTokens: 300, tools: tools(), toolChoice: "required", prompt: "How is Rome?" });
    const seen = new Map<string, number>();
    for await (const part of stream.fullStream) {
      if (part.type === "error") throw part.error;
      seen.set(part.type, (seen.get(part.type) ?? 0) + 1);
    }
    const calls = await stream.toolCalls;
    expect(calls.length).toBeGreaterThan(0);
    for (const call of calls) weather.parse(call.input);
    expect(seen.get("tool-input-start")).toBe(calls.length);
    expect(seen.get("tool-input-delta")).toBeGreaterThan(1);
    expect(seen.get("tool-call")).toBe(calls.length);
  });

  it("writes to a schema, whole and streamed", async () => {
    const params = { ...common(), maxOutputTokens: 200, prompt: "The weather, as JSON.", output: Output.object({ schema: weather }) };
    const whole = (await generateText(params)).output;
    expect(weather.parse(whole)).toEqual(whole);
    const stream = streamText(params);
    let partial: unknown;
    for await (partial of stream.partialOutputStream);
    expect(partial).toEqual(whole);
    expect(await stream.output).toEqual(whole);
  });

  it("errors say what they are", async () => {
    const unknown = await thrown(APICallError, generateText({ ...common(), model: modelOf("gpt-9"), prompt: "Hi" }));
    expect(unknown).toMatchObject({ statusCode: 404, isRetryable: false });
    expect(unknown.message).toContain("gpt-9");
    const stranger = await thrown(APICallError, generateText({ ...common(), model: modelOf(product.model, "no"), prompt: "Hi" }));
    expect(stranger).toMatchObject({ statusCode: 401, isRetryable: false });
    const long = await thrown(APICallError, generateText({ ...common(), prompt: "word ".repeat(20_000) }));
    expect(long).toMatchObject({ statusCode: 400, isRetryable: false });
    const errors: unknown[] = [];
    const stream = streamText({ ...common(), model: modelOf("gpt-9"), prompt: "Hi", onError: ({ error }) => void errors.push(error) });
    await stream.consumeStream();
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatchObject({ statusCode: 404 });
  });

  it("an abort reaches the engine", async () => {
    const controller = new AbortController();
    const stream = streamText({ ...common(), maxOutputTokens: 4_000, prompt: LONG, abortSignal: controller.signal });
    let aborted = false;
    for await (const part of stream.fullStream) {
      if (part.type === "text-delta" && !controller.signal.aborted) {
        await until("it runs", async () => (await runningEverywhere(product)) === 1);
        controller.abort();
      }
      aborted ||= part.type === "abort";
    }
    expect(aborted).toBe(true);
    await nothingRuns(product);
  });
});
