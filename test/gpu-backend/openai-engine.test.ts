/** The adapter to OpenAI's API before a server that computes: what it sends, what it believes, and what it makes of failures. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Engine, EngineRequest } from "../../gpu-backend/engine/engine.ts";
import { openEngine } from "../../gpu-backend/engine/open-engine.ts";
import { PrefixMemory } from "../../gpu-backend/engine/openai/prefix-memory.ts";
import { accepted, prose, request, runOf, seen } from "../conformance/engine-runs.ts";
import { openAdapter, templateFile } from "./openai-adapter.ts";
import { openAiServer, type OpenAiServer } from "./openai-server.ts";

const KEY = "sk-a-key-that-nobody-may-see";

let server: OpenAiServer;
let engine: Engine;
beforeAll(async () => {
  server = await openAiServer({ key: KEY });
  engine = await openAdapter(server, { WARMPATH_ENGINE_KEY: KEY, WARMPATH_BLOCK_TOKENS: "32" });
});
afterAll(async () => {
  await engine.close();
  await server.close();
});

const lastBody = () => server.bodies.at(-1) ?? {};

test("the server gives its model, context and control tokens", () => {
  const { model, contextTokens, marks, release } = engine.card;
  expect([model, contextTokens, release]).toEqual(["demo-served", 8_192, "vllm 0.32.0"]);
  expect(marks).toEqual(expect.arrayContaining(["<|im_start|>", "<|im_end|>"]));
});

test("nothing but the contract's own fields reaches the server, whatever a request carries", async () => {
  const hostile = {
    kv_transfer_params: { do_remote_prefill: true },
    ec_transfer_params: {},
    vllm_xargs: { a: 1 },
    priority: -1,
    cache_salt: "another tenant",
  };
  const asked = { ...request(prose("fields", 5), { maxTokens: 4, salt: "tenant" }), ...hostile } as EngineRequest;
  expect((await seen(await accepted(engine, asked))).finished.reason).toBe("length");
  const { prompt, ...body } = lastBody();
  expect(Array.isArray(prompt)).toBe(true);
  expect(body).toEqual({
    model: "demo-served",
    max_tokens: 4,
    temperature: 0,
    top_p: 1,
    seed: 1,
    stream: true,
    stream_options: { include_usage: true, continuous_usage_stats: true },
    cache_salt: "tenant",
  });
  expect(server.headers.authorization).toBe(`Bearer ${KEY}`);
});

test("what is believed of a prompt's cache is what the server then reports, and tenants share nothing", async () => {
  const prompt = prose("believed", 60);
  const told = async (salt: string) => {
    const { events, finished } = await runOf(engine, prompt, { salt, maxTokens: 2 });
    const started = events.find((event) => event.type === "started");
    return [started?.cachedTokens, finished.cachedTokens];
  };
  expect(await told("one")).toEqual([0, 0]);
  const [believed = 0, reported] = await told("one");
  expect([believed > 32, believed]).toEqual([true, reported]);
  expect(await told("two")).toEqual([0, 0]);
});

test("a mark in a client's text is counted and sent as text", async () => {
  const prompt = "say <|im_end|> aloud";
  const cuts = [prompt.indexOf("|im_end")];
  expect(await engine.count(prompt, cuts)).toEqual(await server.engine.count(prompt, cuts));
  expect(await engine.count(prompt)).not.toEqual(await engine.count(prompt, cuts));
  await runOf(engine, prompt, { cuts, maxTokens: 1 });
  const { prompt: sent } = lastBody();
  const whole = await server.engine.prepare(request(prompt, { cuts }));
  expect(sent).toEqual("tokens" in whole && whole.tokens !== null ? [...whole.tokens] : null);
});

test("an answer follows a schema that the server holds it to, and forced tool calls are refused by name", async () => {
  const schema = { type: "object", properties: { n: { enum: [1, 2] } }, required: ["n"], additionalProperties: false };
  const { text } = await runOf(engine, "A number", { grammar: { type: "json_schema", schema, strict: true }, maxTokens: 60 });
  expect([1, 2]).toContain((JSON.parse(text) as { n: number }).n);
  const tools = { type: "tool_calls" as const, tools: [], parallel: false, otherwise: null };
  expect(await engine.run(request("x", { grammar: tools }))).toMatchObject({
    reason: "grammar",
    message: expect.stringContaining("call a tool"),
  });
});

test("logprobs come with their tokens", async () => {
  const { logprobs, finished } = await runOf(engine, prose("likely", 5), { logprobs: 2, maxTokens: 6 });
  expect(logprobs).toHaveLength(finished.outputTokens);
  for (const { logprob, top } of logprobs) expect([logprob <= 0, top.length >= 1]).toEqual([true, true]);
});

const sse = (response: ServerResponse, ...events: object[]): void => {
  response.writeHead(200, { "content-type": "text/event-stream" });
  for (const event of events) response.write(`data: ${JSON.stringify(event)}\n\n`);
};
const said = (text: string, finish: string | null = null): object => ({ choices: [{ index: 0, text, finish_reason: finish }] });

test.each<[string, (response: ServerResponse) => void]>([
  [
    'ends it with "abort"',
    (response) => {
      sse(response, said("half"), said("", "abort"));
      response.end("data: [DONE]\n\n");
    },
  ],
  [
    "reports an error in the middle of it",
    (response) => {
      sse(response, said("half"), { error: { message: "http://10.0.0.1:8000 is dead", code: 500 } });
      response.end();
    },
  ],
  [
    "breaks off",
    (response) => {
      sse(response, said("half"));
      response.end();
    },
  ],
  [
    "is cut",
    (response) => {
      sse(response, said("half"));
      setImmediate(() => response.destroy());
    },
  ],
  [
    "sends what is no JSON",
    (response) => {
      response.writeHead(200);
      response.end("data: {\n\n");
    },
  ],
  [
    "sends a line without an end",
    (response) => {
      response.writeHead(200);
      response.end(`data: ${"x".repeat(3_000_000)}`);
    },
  ],
])("an answer of a server that %s is an error, so that another replica is asked", async (_, respond) => {
  server.next = (_request, response) => respond(response);
  const { finished } = await runOf(engine, "fails", { maxTokens: 4 });
  expect(finished).toMatchObject({ reason: "error", message: expect.stringContaining("engine's server") });
  expect(finished.message).not.toMatch(/10\.0\.0|127\.0|sk-/);
  expect(engine.load()).toEqual({ running: 0, queued: 0, usedKvTokens: 0 });
  expect((await runOf(engine, "goes on", { maxTokens: 2 })).finished.reason).toBe("length");
});

test.each([
  [503, "busy", "full"],
  [429, "busy", "full"],
  [401, "unavailable", "key"],
  [404, "unavailable", "404"],
  [500, "unavailable", "500"],
  [302, "unavailable", "302"],
  [400, "unavailable", "400"],
])("status %d is refused as %s, in our own words", async (status, reason, words) => {
  server.next = (_request, response) => {
    response.writeHead(status, { location: "http://127.0.0.1:1/", "content-type": "application/json" });
    response.end(JSON.stringify({ error: { message: `no, says ${server.url} to ${KEY}` } }));
  };
  const refusal = await engine.run(request("x"));
  expect(refusal).toMatchObject({ type: "refused", reason, message: expect.stringContaining(words) });
  expect(JSON.stringify(refusal)).not.toMatch(/127\.0|sk-/);
});

test("an error that comes after the request was accepted ends its run", async () => {
  server.next = (_request, response) => void setTimeout(() => response.writeHead(500).end(), 3_300);
  expect((await runOf(engine, "late")).finished).toMatchObject({ reason: "error", message: expect.stringContaining("500") });
});

test("what a redirect points at never gets the key", async () => {
  const reached: IncomingMessage[] = [];
  const other = createServer((got, response) => {
    reached.push(got);
    response.end();
  });
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  const { port } = other.address() as AddressInfo;
  server.next = (_request, response) => void response.writeHead(307, { location: `http://127.0.0.1:${port}/` }).end();
  expect(await engine.run(request("x"))).toMatchObject({ reason: "unavailable" });
  expect(reached).toEqual([]);
  other.close();
});

test("a server that dies is down until it is back, and then it is a new life", async () => {
  const dying = await openAiServer();
  const adapter = await openAdapter(dying);
  const back = new Promise<void>((resolve) => adapter.onRestart(resolve));
  try {
    await dying.stop();
    // The first who asks finds out.
    expect(await adapter.run(request("", { tokens: [1, 2, 3] }))).toMatchObject({ reason: "unavailable" });
    expect(await adapter.prepare(request("x"))).toMatchObject({
      reason: "unavailable",
      message: expect.stringContaining("can't be reached"),
    });
    expect(adapter.load()).toEqual({ running: 0, queued: 0, usedKvTokens: 0 });
    await dying.start();
    await back;
    expect((await runOf(adapter, "again", { maxTokens: 2 })).finished.reason).toBe("length");
  } finally {
    await adapter.close();
    await dying.close();
  }
});

test("a server without a tokenizer gets text, its lengths are estimated and learnt, and no schema is promised for it", async () => {
  const plain = await openAiServer({ isVllm: false, reportsCached: false });
  const adapter = await openAdapter(plain, { WARMPATH_CONTEXT_TOKENS: "2048" });
  try {
    expect([adapter.card.release, adapter.card.marks]).toEqual(["other of an unknown version", undefined]);
    const prompt = prose("estimated", 80);
    const off = async (): Promise<number> => {
      const { queued, finished, text } = await runOf(adapter, prompt, { maxTokens: 3 });
      expect([finished.reason, finished.outputTokens, finished.cachedTokens, text !== ""]).toEqual(["length", 3, 0, true]);
      return Math.abs(queued.promptTokens - finished.promptTokens);
    };
    const first = await off();
    for (let turn = 0; turn < 30; turn++) await off();
    expect(await off()).toBeLessThan(first / 2);
    const { prompt: sent, cache_salt: salt, stream_options: more } = plain.bodies.at(-1) ?? {};
    expect([sent, salt, more]).toEqual([prompt, undefined, { include_usage: true }]);
    const grammar = { type: "json_object" as const };
    expect(await adapter.run(request("x", { grammar }))).toMatchObject({ reason: "grammar" });
    expect(await adapter.run(request(prose("long", 4_000)))).toMatchObject({ reason: "context_length_exceeded", exact: false });
  } finally {
    await adapter.close();
    await plain.close();
  }
});

test("a belief is bounded, and forgets the end of a prompt first", () => {
  const memory = new PrefixMemory(64, 16);
  const tokens = Array.from({ length: 64 }, (_, token) => token);
  const chain = memory.chainOf(tokens, "salt");
  expect([chain.length, memory.heldTokens(chain, 64)]).toEqual([4, 0]);
  memory.computed(chain);
  // The last token is always computed.
  expect([memory.heldTokens(chain, 64), memory.heldTokens(chain, 65)]).toEqual([48, 64]);
  expect(memory.heldTokens(memory.chainOf(tokens, "other"), 65)).toBe(0);
  memory.computed(memory.chainOf([9, ...tokens.slice(0, 16)], "salt"));
  expect(memory.heldTokens(chain, 65)).toBe(48);
});

test("a report that less was cached takes back the belief in all that was used before", async () => {
  const fresh = await openAiServer();
  const adapter = await openAdapter(fresh, { WARMPATH_BLOCK_TOKENS: "32" });
  const told = async (topic: string) => {
    const { events, finished } = await runOf(adapter, prose(topic, 60), { maxTokens: 2 });
    return [events.find((event) => event.type === "started")?.cachedTokens, finished.cachedTokens];
  };
  try {
    for (const topic of ["older", "newer"]) expect(await told(topic)).toEqual([0, 0]);
    // Its cache is emptied, and nobody says so.
    const emptied = new Promise<void>((resolve) => fresh.engine.onRestart(resolve));
    process.kill(fresh.engine.processId ?? 0, "SIGKILL");
    await emptied;
    const [believed = 0, reported] = await told("newer");
    expect([believed > 32, reported]).toEqual([true, 0]);
    expect(await told("older")).toEqual([0, 0]);
  } finally {
    await adapter.close();
    await fresh.close();
  }
});

test.each([
  ["no server's URL", {}, "misconfigured", "WARMPATH_ENGINE_URL"],
  ["a URL that is a file's", { WARMPATH_ENGINE_URL: "file:///x" }, "misconfigured", "WARMPATH_ENGINE_URL"],
  ["a URL with a key in it", { WARMPATH_ENGINE_URL: `http://user:${KEY}@127.0.0.1:9` }, "misconfigured", "WARMPATH_ENGINE_KEY"],
  ["nobody there", { WARMPATH_ENGINE_URL: "http://127.0.0.1:9" }, "unavailable", "can't be reached"],
  ["a wrong key", { WARMPATH_ENGINE_KEY: "sk-wrong" }, "unavailable", "WARMPATH_ENGINE_KEY"],
  ["a model that is not there", { WARMPATH_ENGINE_KEY: KEY, WARMPATH_ENGINE_MODEL: "nope" }, "unavailable", "it has demo-served"],
  ["no template", { WARMPATH_ENGINE_KEY: KEY, WARMPATH_CHAT_TEMPLATE: undefined }, "misconfigured", "WARMPATH_CHAT_TEMPLATE"],
  ["a template's file that is not there", { WARMPATH_ENGINE_KEY: KEY, WARMPATH_CHAT_TEMPLATE: "/no/such" }, "misconfigured", "/no/such"],
])("with %s it does not open, in one sentence that names the remedy", async (name, changes, type, words) => {
  const url = name === "no server's URL" ? {} : { WARMPATH_ENGINE_URL: server.url };
  const opened = await openEngine({ WARMPATH_ENGINE: "openai", WARMPATH_CHAT_TEMPLATE: await templateFile(), ...url, ...changes });
  expect(opened).toEqual({ type, message: expect.stringContaining(words) });
  expect(JSON.stringify(opened)).not.toContain(KEY);
});
