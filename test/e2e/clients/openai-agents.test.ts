/** OpenAI's Agents SDK, which checks usage more strictly than the client it calls with: an agent with a tool, through chat and through responses. */
import { Agent, OpenAIProvider, Runner, tool, type Usage } from "@openai/agents";
import OpenAI from "openai";
import { describe, expect, it } from "vitest";
import { LONG_QUESTION, productOfWorker, thrown, weather, WEATHER_ABOUT } from "./product.ts";

const product = productOfWorker();

describe.each([
  ["chat", false],
  ["responses", true],
])("%s", (_api, useResponses) => {
  const asked: unknown[] = [];
  const runnerOf = (apiKey = product.apiKey): Runner =>
    new Runner({
      modelProvider: new OpenAIProvider({
        openAIClient: new OpenAI({ baseURL: `${product.url}/v1`, apiKey, maxRetries: 0, timeout: 60_000 }),
        useResponses,
      }),
      tracingDisabled: true,
    });
  /** The tool must be called first; then `resetToolChoice` leaves the model free, and the schema brings it to an end, which free text need not have. */
  const agentOf = (model = product.model) =>
    new Agent({
      name: "Guide",
      instructions: "Be brief.",
      model,
      modelSettings: { temperature: 0, maxTokens: 120, toolChoice: "weather", parallelToolCalls: false },
      resetToolChoice: true,
      outputType: weather,
      tools: [
        tool({
          name: "weather",
          description: WEATHER_ABOUT,
          parameters: weather,
          execute: (given) => {
            asked.push(given);
            return "Rain, 4 °C.";
          },
        }),
      ],
    });

  function checkUsage(usage: Usage): void {
    expect(usage.requests).toBe(2);
    expect(usage.inputTokens).toBeGreaterThan(0);
    expect(usage.totalTokens).toBe(usage.inputTokens + usage.outputTokens);
    const details = [...usage.inputTokensDetails, ...usage.outputTokensDetails];
    expect(details.length).toBeGreaterThan(0);
    for (const detail of details) expect(Object.values(detail).every((value) => typeof value === "number")).toBe(true);
    // The second request begins with all that the first one had.
    expect(usage.inputTokensDetails.at(-1)?.["cached_tokens"]).toBeGreaterThan(64);
  }

  it("runs the tool and comes to an end", async () => {
    asked.length = 0;
    const result = await runnerOf().run(agentOf(), LONG_QUESTION);
    expect(asked).toHaveLength(1);
    weather.parse(asked[0]);
    expect(weather.parse(result.finalOutput)).toEqual(result.finalOutput);
    expect(result.newItems.map(({ type }) => type)).toEqual(["tool_call_item", "tool_call_output_item", "message_output_item"]);
    checkUsage(result.runContext.usage);
  });

  it("streamed: the same", async () => {
    asked.length = 0;
    const result = await runnerOf().run(agentOf(), `For Rome: ${LONG_QUESTION}`, { stream: true });
    let text = "";
    const items: string[] = [];
    for await (const event of result) {
      if (event.type === "raw_model_stream_event" && event.data.type === "output_text_delta") text += event.data.delta;
      if (event.type === "run_item_stream_event") items.push(event.name);
    }
    await result.completed;
    expect(asked).toHaveLength(1);
    weather.parse(asked[0]);
    expect(items).toEqual(["tool_called", "tool_output", "message_output_created"]);
    expect(JSON.parse(text)).toEqual(result.finalOutput);
    checkUsage(result.runContext.usage);
  });

  it("errors come through", async () => {
    expect(await thrown(Error, runnerOf().run(agentOf("gpt-9"), "Hi"))).toMatchObject({ status: 404, code: "model_not_found" });
    expect(await thrown(Error, runnerOf("no").run(agentOf(), "Hi"))).toMatchObject({ status: 401, code: "invalid_api_key" });
  });
});
