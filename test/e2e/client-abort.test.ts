/** A client that goes away, by OpenAI's own client: its request must end in the engine, too, and its lease in the pool. */
import OpenAI from "openai";
import type { ChatCompletionChunk, ChatCompletionMessageParam } from "openai/resources/chat/completions";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { metric, runningAt, type Started, startProduct, until } from "./started.ts";

let product: Started;
let client: OpenAI;
let model: string;

beforeAll(async () => {
  product = await startProduct({ replicas: 2, sequences: 4, contextTokens: 8192 });
  ({ model } = product);
  client = new OpenAI({ baseURL: `${product.url}/v1`, apiKey: product.apiKey, maxRetries: 0, timeout: 60_000 });
});
afterAll(() => product?.stop());

const user = (content: string): ChatCompletionMessageParam[] => [{ role: "user", content }];

async function runningEverywhere(): Promise<number> {
  return (await Promise.all(product.replicas.map(runningAt))).reduce((sum, running) => sum + running, 0);
}

async function nothingRuns(): Promise<void> {
  await until("no replica runs anything", async () => (await runningEverywhere()) === 0);
  await until("no lease is left", async () => (await metric(product, "warmpath_leases")) === 0);
}

describe("abort", () => {
  /** A stream of thousands of tokens, seen running. Among so many seeds one does not end by itself at once. */
  async function longStream(signal: AbortSignal): Promise<AsyncIterator<ChatCompletionChunk>> {
    const params = { model, stream: true, temperature: 1, messages: user("Tell me everything.") } as const;
    const stream = await client.chat.completions.create({ ...params, seed: 5, max_completion_tokens: 8_000 }, { signal });
    return stream[Symbol.asyncIterator]();
  }

  it("of a running stream reaches the engine", async () => {
    const controller = new AbortController();
    const chunks = await longStream(controller.signal);
    for (let i = 0; i < 5; i++) expect((await chunks.next()).done).toBe(false);
    expect(await runningEverywhere()).toBe(1);
    const outputBefore = await metric(product, "warmpath_router_output_tokens_total");
    controller.abort();
    await nothingRuns();
    // It had not simply come to its end.
    await until(
      "the cut stream is accounted",
      async () => ((await metric(product, "warmpath_router_output_tokens_total")) ?? 0) > (outputBefore ?? 0),
    );
    expect(((await metric(product, "warmpath_router_output_tokens_total")) ?? 0) - (outputBefore ?? 0)).toBeLessThan(4_000);
  });

  it("by leaving the loop reaches the engine", async () => {
    const params = { model, stream: true, temperature: 1, seed: 5, max_tokens: 8_000, messages: user("Tell me everything.") } as const;
    for await (const chunk of await client.chat.completions.create(params)) if (chunk.choices[0]?.delta.content) break;
    await nothingRuns();
  });

  it("of a unary request reaches the engine", async () => {
    const controller = new AbortController();
    const params = { model, temperature: 1, seed: 5, max_tokens: 8_000, messages: user("Tell me everything.") };
    const answer = client.chat.completions.create(params, { signal: controller.signal });
    const outcome = answer.then(
      () => "answered",
      (error: unknown) => (error instanceof OpenAI.APIUserAbortError ? "aborted" : "failed"),
    );
    await until("the request runs", async () => (await runningEverywhere()) === 1);
    controller.abort();
    expect(await outcome).toBe("aborted");
    await nothingRuns();
  });

  it("of many at once, some still waiting for a place, leaves nothing", async () => {
    const controller = new AbortController();
    const params = { model, stream: true, temperature: 1, max_tokens: 8_000, messages: user("Tell me everything.") } as const;
    const outcomes = Array.from({ length: 16 }, async (_, seed) => {
      try {
        for await (const _chunk of await client.chat.completions.create({ ...params, seed }, { signal: controller.signal }));
      } catch (error) {
        return error instanceof OpenAI.APIUserAbortError;
      }
      return true;
    });
    await until("several run", async () => (await runningEverywhere()) >= 4);
    controller.abort();
    expect((await Promise.all(outcomes)).every(Boolean)).toBe(true);
    await nothingRuns();
    expect((await client.chat.completions.create({ model, max_tokens: 1, messages: user("Still there?") })).choices).toHaveLength(1);
  });
});
