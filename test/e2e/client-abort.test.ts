/** A client that goes away, by OpenAI's own client: its request must end in the engine, too, and its lease in the pool. */
import { request as httpRequest } from "node:http";
import OpenAI from "openai";
import type { ChatCompletionMessageParam } from "openai/resources/chat/completions";
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
  /** Greedy, the demo model goes on with this for 8,000 tokens, half a minute; it is not done before the test is. */
  const long = { temperature: 0, max_tokens: 8_000, messages: user("Tell me everything.") };

  it("of a running stream reaches the engine", async () => {
    const controller = new AbortController();
    const stream = await client.chat.completions.create({ ...long, model, stream: true }, { signal: controller.signal });
    const chunks = stream[Symbol.asyncIterator]();
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
    for await (const chunk of await client.chat.completions.create({ ...long, model, stream: true }))
      if (chunk.choices[0]?.delta.content) break;
    await nothingRuns();
  });

  it("of a unary request by a reset reaches the engine", async () => {
    const { port } = new URL(product.url);
    const path = "/v1/chat/completions";
    const request = httpRequest({ host: "127.0.0.1", port, path, method: "POST", headers: product.headers });
    const closed = new Promise<void>((resolve) => request.once("error", () => undefined).once("close", resolve));
    request.end(JSON.stringify({ ...long, model }));
    await until("the request runs", async () => (await runningEverywhere()) === 1);
    request.socket?.resetAndDestroy();
    await closed;
    await nothingRuns();
  });

  it("of those in line by a reset takes them out of it: no place is given to one that has gone", async () => {
    const { port } = new URL(product.url);
    const at = { host: "127.0.0.1", port, path: "/v1/chat/completions", method: "POST", headers: product.headers };
    const expired = await metric(product, "warmpath_leases_expired_total");
    // Each computes for longer than a replica takes on at once: most of them wait.
    const requests = Array.from({ length: 24 }, (_, n) => {
      const request = httpRequest(at);
      request.once("error", () => undefined);
      request.end(JSON.stringify({ model, max_tokens: 8, messages: user(`Number ${n} of many. `.repeat(600)) }));
      return request;
    });
    await until("many wait", async () => ((await metric(product, "warmpath_router_queue_pending_requests")) ?? 0) >= 12);
    for (const request of requests) request.socket?.resetAndDestroy();
    await until("nobody waits", async () => (await metric(product, "warmpath_router_queue_pending_requests")) === 0, 3_000);
    await nothingRuns();
    expect(await metric(product, "warmpath_leases_expired_total")).toBe(expired);
  });

  it("of many at once, some still waiting for a place, leaves nothing", async () => {
    const controller = new AbortController();
    const params = { ...long, model, stream: true } as const;
    const outcomes = Array.from({ length: 16 }, async () => {
      try {
        for await (const _chunk of await client.chat.completions.create(params, { signal: controller.signal }));
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
