/** An engine without a KV part behind the real replica server, in a pool of a real edge. */
import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Replica } from "../../gpu-backend/replica.ts";
import { createReplicaServer } from "../../gpu-backend/server.ts";
import { makeBundle, POOL, SoakEdge } from "../bench/soak/edge-process.ts";
import { PlainEngine } from "../conformance/plain-engine.ts";
import { metric, until } from "./started.ts";

const engine = new PlainEngine({ sequences: 2, queueLimit: 2, contextTokens: 8_192 });
const messages = [{ role: "user" as const, content: `Which words come? ${"They follow from the prompt. ".repeat(80)}` }];
const asked = { model: engine.card.model, max_tokens: 12, messages };

let bundle: Awaited<ReturnType<typeof makeBundle>>;
let edge: SoakEdge;
let replica: Replica;
let server: Server;
let client: OpenAI;

beforeAll(async () => {
  bundle = await makeBundle();
  edge = await SoakEdge.start(bundle.path);
  const created = await Replica.create(engine, {
    join: `ws://127.0.0.1:${edge.port}/announce/${POOL}`,
    joinToken: edge.secrets.joinToken(POOL),
    pool: POOL,
    name: "plain",
    url: null,
    host: "127.0.0.1",
    port: 0,
    roles: ["prefill", "decode"],
    machine: null,
    drainMs: 0,
    tiers: { hostBytes: 0, disk: null, store: null },
  });
  if (!(created instanceof Replica)) throw new Error(created.message);
  replica = created;
  server = createReplicaServer(replica);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  replica.join(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, () => undefined);
  await until("the replica is ready", async () => (await fetch(`${edge.url}/healthz`)).status === 200, 60_000);
  client = new OpenAI({ baseURL: `${edge.url}/v1`, apiKey: edge.secrets.apiKey, maxRetries: 0 });
});
afterAll(async () => {
  await replica?.close();
  server?.closeAllConnections();
  server?.close();
  await edge?.end();
  await bundle?.remove();
});

it("answers a chat through the edge, whole and streamed, again and again", async () => {
  const whole = await client.chat.completions.create(asked);
  const [choice] = whole.choices;
  expect(choice?.finish_reason).toBe("length");
  expect(choice?.message.content).toMatch(/^([a-z]+ ){12}$/);
  expect(whole.usage).toMatchObject({ completion_tokens: 12, prompt_tokens_details: { cached_tokens: 0 } });
  const { prompt_tokens: promptTokens } = whole.usage ?? {};
  expect(promptTokens).toBeGreaterThan(2_000);
  const stream = await client.chat.completions.create({ ...asked, stream: true, stream_options: { include_usage: true } });
  let text = "";
  let usage: OpenAI.CompletionUsage | null | undefined;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? "";
    usage = chunk.usage ?? usage;
  }
  expect(text).toMatch(/^([a-z]+ ){12}$/);
  expect(usage).toMatchObject({ prompt_tokens: promptTokens, completion_tokens: 12 });
  const again = await Promise.all(Array.from({ length: 4 }, () => client.chat.completions.create(asked)));
  expect(again.map(({ usage: each }) => each?.completion_tokens)).toEqual([12, 12, 12, 12]);
});

it("counts tokens, and refuses in the API's own words what it can't do", async () => {
  const headers = edge.headers;
  const count = await fetch(`${edge.url}/v1/messages/count_tokens`, {
    method: "POST",
    headers,
    body: JSON.stringify({ model: asked.model, messages }),
  });
  expect(await count.json()).toMatchObject({ input_tokens: expect.any(Number) });
  const error: unknown = await client.chat.completions
    .create({ ...asked, response_format: { type: "json_object" } })
    .catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ status: 400, message: expect.stringContaining("follows no grammar") });
});

it("has announced nothing", async () => {
  expect(await metric(edge, "warmpath_replicas_ready")).toBe(1);
  expect(await metric(edge, "warmpath_index_entries")).toBe(0);
  expect(engine.load()).toEqual({ running: 0, queued: 0, usedKvTokens: 0 });
});
