/** All four APIs over plain HTTP, and what outlives an answer: stored responses, and conversations that go on from them. */
import { createHmac } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { beforeAll, describe, expect, it } from "vitest";
import { formatKey } from "../../../src/tenancy/key.ts";
import { metric, until } from "../started.ts";
import { productOfWorker } from "./product.ts";

type Json = Record<string, unknown>;

const product = productOfWorker();
/** Of another tenant than the launcher's. */
let strangersKey: string;

beforeAll(async () => {
  const deployment = (await readFile(join(product.stateDirectory, "secret"), "utf8")).trim();
  const mac = (text: string) => createHmac("sha256", deployment).update(text).digest();
  strangersKey = formatKey({ tenant: "stranger", keyId: "1" }, "0123456789abcdef", mac);
});

const ask = (method: string, path: string, body?: Json, headers: Record<string, string> = product.headers): Promise<Response> =>
  fetch(product.url + path, {
    method,
    headers,
    signal: AbortSignal.timeout(60_000),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });

async function post(path: string, body: Json): Promise<Json> {
  const answer = await ask("POST", path, { model: product.model, ...body });
  const text = await answer.text();
  expect(answer.status, text).toBe(200);
  expect(answer.headers.get("x-request-id")).toMatch(/^req_default_/);
  expect(answer.headers.get("request-id")).toBe(answer.headers.get("x-request-id"));
  expect(answer.headers.get("x-warmpath-replica")).toBeTruthy();
  expect(answer.headers.get("access-control-allow-origin")).toBe("*");
  return JSON.parse(text) as Json;
}

interface ServerSentEvent {
  event: string | null;
  data: string;
}

async function stream(path: string, body: Json): Promise<ServerSentEvent[]> {
  const answer = await ask("POST", path, { model: product.model, stream: true, ...body });
  const text = await answer.text();
  expect(answer.status, text).toBe(200);
  expect(answer.headers.get("content-type")).toMatch(/^text\/event-stream/);
  const field = (block: string, name: string): string | undefined =>
    block
      .split("\n")
      .find((line) => line.startsWith(`${name}: `))
      ?.slice(name.length + 2);
  return text
    .split("\n\n")
    .map((block) => ({ event: field(block, "event") ?? null, data: field(block, "data") ?? "" }))
    .filter(({ data }) => data !== "");
}

/** With all that the replica has to say about them at the pool. */
const settled = () => until("no lease is left", async () => (await metric(product, "warmpath_leases")) === 0);

const typesOf = (events: readonly ServerSentEvent[]): unknown[] => events.map(({ data }) => (JSON.parse(data) as Json)["type"]);
const hi = [{ role: "user", content: "Tell me a story about a warm path." }];

describe("each API, whole and streamed", () => {
  it("chat completions", async () => {
    const whole = await post("/v1/chat/completions", { messages: hi, max_tokens: 8 });
    expect(whole).toMatchObject({ object: "chat.completion", choices: [{ message: { role: "assistant" } }] });
    const events = await stream("/v1/chat/completions", { messages: hi, max_tokens: 8 });
    expect(events.at(-1)?.data).toBe("[DONE]");
    expect(JSON.parse(events[0]?.data ?? "")).toMatchObject({ object: "chat.completion.chunk" });
  });

  it("completions", async () => {
    const whole = await post("/v1/completions", { prompt: "Once upon a time", max_tokens: 8 });
    expect(whole).toMatchObject({ object: "text_completion", choices: [{ text: expect.any(String) as string }] });
    const events = await stream("/v1/completions", { prompt: "Once upon a time", max_tokens: 8 });
    expect(events.at(-1)?.data).toBe("[DONE]");
  });

  it("messages, and their count", async () => {
    const whole = await post("/v1/messages", { messages: hi, max_tokens: 8 });
    expect(whole).toMatchObject({ type: "message", role: "assistant", content: [{ type: "text" }] });
    const events = await stream("/v1/messages", { messages: hi, max_tokens: 8 });
    expect(events.map(({ event }) => event)).toEqual(typesOf(events));
    expect([typesOf(events)[0], typesOf(events).at(-1)]).toEqual(["message_start", "message_stop"]);
    const { input_tokens: counted } = await post("/v1/messages/count_tokens", { messages: hi });
    const { input_tokens: fresh, cache_read_input_tokens: cached } = whole["usage"] as Record<string, number>;
    expect(counted).toBe((fresh ?? 0) + (cached ?? 0));
  });

  it("responses, and their count", async () => {
    const whole = await post("/v1/responses", { input: hi[0]?.content, max_output_tokens: 8 });
    expect(whole).toMatchObject({ object: "response", output: [{ type: "message" }] });
    const events = await stream("/v1/responses", { input: hi, max_output_tokens: 8 });
    expect(typesOf(events)[0]).toBe("response.created");
    expect(typesOf(events).at(-1)).toMatch(/^response\.(completed|incomplete)$/);
    const { input_tokens: counted } = await post("/v1/responses/input_tokens", { input: hi });
    expect(counted).toBe((whole["usage"] as Json)["input_tokens"]);
  });

  it("the same conversation is warm through every API", async () => {
    const content = `Remember this. ${"A warm path is a path that someone has walked before. ".repeat(40)}`;
    await post("/v1/chat/completions", { messages: [{ role: "user", content }], max_tokens: 1 });
    await settled();
    // What the replica holds is announced some milliseconds later.
    await until("messages are warm from chat", async () => {
      const { usage } = await post("/v1/messages", { messages: [{ role: "user", content }], max_tokens: 1 });
      return (usage as { cache_read_input_tokens: number }).cache_read_input_tokens > 100;
    });
    await until("responses are warm, too", async () => {
      const { usage } = await post("/v1/responses", { input: content, max_output_tokens: 16, store: false });
      return (usage as { input_tokens_details: { cached_tokens: number } }).input_tokens_details.cached_tokens > 100;
    });
  });

  it("packed bodies are taken by the edge as it runs", async () => {
    const body = gzipSync(JSON.stringify({ model: product.model, messages: hi, max_tokens: 1 }));
    const headers = { ...product.headers, "content-encoding": "gzip" };
    const answer = await fetch(`${product.url}/v1/chat/completions`, { method: "POST", body, headers });
    expect(answer.status, await answer.text()).toBe(200);
  });

  it("leaves no lease behind, counts neither", async () => {
    await settled();
  });
});

describe("stored responses", () => {
  interface ResponseObject extends Json {
    id: string;
    usage: { input_tokens: number; input_tokens_details: { cached_tokens: number } };
  }
  const say = async (input: string, previous: string | null): Promise<ResponseObject> => {
    const said = (await post("/v1/responses", { input, max_output_tokens: 16, previous_response_id: previous })) as ResponseObject;
    await settled();
    return said;
  };
  const words = (topic: string): string => `About ${topic}: ${"tell me more of what you know, and say it slowly. ".repeat(24)}`;

  it("are read as they were answered, whole and streamed", async () => {
    const whole = await say(words("rivers"), null);
    expect(await (await ask("GET", `/v1/responses/${whole.id}`)).json()).toEqual(whole);
    const events = await stream("/v1/responses", { input: words("lakes"), max_output_tokens: 16 });
    const last = (JSON.parse(events.at(-1)?.data ?? "") as { response: ResponseObject }).response;
    expect(await (await ask("GET", `/v1/responses/${last.id}`)).json()).toEqual(last);
    const items = (await (await ask("GET", `/v1/responses/${whole.id}/input_items`)).json()) as Json;
    expect(items).toMatchObject({ object: "list", has_more: false, data: [{ type: "message", role: "user" }] });
  });

  it("go on by previous_response_id, warmer each turn", async () => {
    const turns = [await say(words("birds"), null)];
    for (const topic of ["fish", "trees", "stones"]) {
      // As long as the turn before counts as running, an idle replica may be cheaper.
      await settled();
      turns.push(await say(words(topic), turns.at(-1)?.id ?? null));
    }
    const prompts = turns.map(({ usage }) => usage.input_tokens);
    const cached = turns.map(({ usage }) => usage.input_tokens_details.cached_tokens);
    for (let turn = 1; turn < turns.length; turn += 1) {
      expect(prompts[turn], String(prompts)).toBeGreaterThan(prompts[turn - 1] ?? 0);
      expect(cached[turn], String(cached)).toBeGreaterThan(cached[turn - 1] ?? 0);
    }
    // A conversation does not need what came before it to be kept.
    await ask("DELETE", `/v1/responses/${turns[0]?.id}`);
    await say("And then?", turns.at(-1)?.id ?? null);
  });

  it("are gone when deleted, and are nobody else's", async () => {
    const { id } = await say("Hi", null);
    const stranger = { authorization: `Bearer ${strangersKey}`, "content-type": "application/json" };
    const statuses = async (headers: Record<string, string>, methods: readonly string[]): Promise<number[]> => {
      const found: number[] = [];
      for (const method of methods) found.push((await ask(method, `/v1/responses/${id}`, undefined, headers)).status);
      found.push((await ask("GET", `/v1/responses/${id}/input_items`, undefined, headers)).status);
      const next = { model: product.model, input: "And?", previous_response_id: id, max_output_tokens: 16 };
      found.push((await ask("POST", "/v1/responses", next, headers)).status);
      return found;
    };
    expect(await statuses(stranger, ["GET", "DELETE"])).toEqual([404, 404, 404, 400]);
    expect(await statuses(product.headers, ["GET"])).toEqual([200, 200, 200]);
    expect(await (await ask("DELETE", `/v1/responses/${id}`)).json()).toMatchObject({ id, deleted: true });
    expect(await statuses(product.headers, ["GET", "DELETE"])).toEqual([404, 404, 404, 400]);
  });

  it("are not kept with store: false", async () => {
    const { id } = await post("/v1/responses", { input: "Hi", max_output_tokens: 16, store: false });
    expect((await ask("GET", `/v1/responses/${String(id)}`)).status).toBe(404);
  });
});
