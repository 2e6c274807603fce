/** Several pools behind one edge: who is asked, by what the directory says, and what the client is told. Replicas' HTTP side is played by hand. */
import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { createHmac } from "node:crypto";
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { EdgeView } from "../../src/edge/edge-view.ts";
import { DEFAULT_SCHEDULE } from "../../src/prefix/segment.ts";
import { Sketch } from "../../src/residency/sketch.ts";
import { formatKey } from "../../src/tenancy/key.ts";
import { createApp } from "../../workers/app.ts";
import { configOf, type Env } from "../../workers/env.ts";
import { promptChain } from "../../workers/prompt-chain.ts";
import { SlowAnswer } from "./edge.ts";
import { MockReplica, wayBackAnswer } from "./mock-replica.ts";

const mac = (text: string) => createHmac("sha256", "test-secret-of-the-deployment").update(text).digest();
const key = formatKey({ tenant: "acme", keyId: "1" }, "0123456789abcdef", mac);
const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
const app = createApp();

const MODELS = {
  models: {
    chat: {
      pools: [
        { pool: "eu", region: "eu" },
        { pool: "us", region: "us" },
      ],
    },
    next: { pools: [{ pool: "canary" }] },
  },
  aliases: { fast: [{ model: "chat", weight: 3 }, { model: "next" }] },
};
const many: Env = { ...env, WARMPATH_MODELS: JSON.stringify(MODELS) };

/** What came to replicas, last one last. */
let asked: { url: string; headers: Headers }[] = [];
let fails = (_url: string): boolean => false;

beforeEach(() => {
  asked = [];
  fails = () => false;
  vi.useFakeTimers({ toFake: ["Date"] });
  vi.stubGlobal("fetch", (url: string, init: RequestInit) => {
    const proof = wayBackAnswer(url);
    if (proof !== null) return Promise.resolve(proof);
    asked.push({ url, headers: new Headers(init.headers) });
    return Promise.resolve(fails(url) ? new Response(null, { status: 503 }) : Response.json({ object: "prewarm" }));
  });
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const replicas = await Promise.all(["eu", "us", "canary"].map((pool) => MockReplica.join(pool, `${pool}0`)));
const [eu, us] = replicas;
afterAll(() => replicas.forEach((replica) => replica.close()));

async function fetchApp(path: string, init: RequestInit, bindings: Env): Promise<Response> {
  const context = createExecutionContext();
  const response = await app.fetch(new Request(`https://edge.test${path}`, { headers, ...init }), bindings, context);
  await waitOnExecutionContext(context);
  return response;
}

/** A prewarm's lease ends with its answer. */
const ask = (model: string, content: string, more: object = {}, bindings = many): Promise<Response> =>
  fetchApp("/v1/prewarm", { method: "POST", body: JSON.stringify({ model, messages: [{ role: "user", content }], ...more }) }, bindings);

const poolOf = (response: Response): string | null => response.headers.get("x-warmpath-pool");

/** Until every card that is kept anywhere is younger than what was announced before. */
async function cardsAreNew(): Promise<void> {
  for (let round = 0; round < 3; round++) {
    vi.setSystemTime(Date.now() + 1_100);
    for (const replica of replicas) replica.heartbeat();
    await ask("chat", "warm the cards");
  }
}

const long = (about: string): string => `${about} `.repeat(1_000);
const chainOf = (content: string) =>
  promptChain(
    { messages: [{ role: "user", content }], tools: [] },
    { version: 1, schedule: DEFAULT_SCHEDULE, order: "system-then-tools" },
    "demo",
    configOf(env).saltOf("acme"),
  ).chain.hashes;

describe("a prompt", () => {
  it("goes to the pool whose sketch has it, and the answer says why", async () => {
    eu?.hold(chainOf(long("rivers")));
    us?.hold(chainOf(long("mountains")));
    await cardsAreNew();
    for (const [about, pool] of [
      ["rivers", "eu"],
      ["mountains", "us"],
      ["rivers", "eu"],
    ] as const) {
      const response = await ask("chat", long(about));
      expect([response.status, poolOf(response)]).toEqual([200, pool]);
      expect(response.headers.get("x-warmpath-pool-reason")).toMatch(new RegExp(`^${pool} holds ~[1-9]`));
      expect(response.headers.get("x-request-id")).toMatch(new RegExp(`^req_${pool}_`));
    }
  });

  it("goes to the next pool when no replica of the first takes it", async () => {
    fails = (url) => url.includes("eu0");
    const response = await ask("chat", long("rivers"));
    expect([response.status, poolOf(response), response.headers.get("x-warmpath-replica")]).toEqual([200, "us", "us0"]);
    expect(asked.map(({ url }) => new URL(url).hostname)).toEqual(["eu0.eu.test", "us0.us.test"]);
    // The id names the pool that was asked first; the decisions of both are told.
    const id = response.headers.get("x-request-id") ?? "";
    expect(id).toMatch(/^req_eu_/);
    const decision = await fetchApp(`/v1/decisions/${id}`, {}, many);
    expect(await decision.json()).toMatchObject({ id, pool: "us", attempts: [{ pool: "eu", decision: {} }, { pool: "us" }] });
  });

  it("goes where the conversation's last turn went, before any sketch has it", async () => {
    const first = await ask("chat", long("valleys"));
    const messages = [
      { role: "user", content: long("valleys") },
      { role: "assistant", content: "So." },
      { role: "user", content: "Go on." },
    ];
    const second = await ask("chat", "", { messages });
    expect(poolOf(second)).toBe(poolOf(first));
    expect(second.headers.get("x-warmpath-pool-reason")).toMatch(/holds ~[1-9]/);
    // The same beginning, then another story: what both begin with was sent there.
    const [, , last] = messages;
    const branched = await ask("chat", "", { messages: [{ role: "user", content: long("valleys").slice(0, -900) }, last] });
    expect(poolOf(branched)).toBe(poolOf(first));
    expect(branched.headers.get("x-warmpath-pool-reason")).toMatch(/holds ~[1-9]/);
    // Of another beginning nothing was.
    const other = await ask("chat", `Other ${long("valleys")}`);
    expect(other.headers.get("x-warmpath-pool-reason")).toMatch(/holds ~0 of/);
  });

  it("for an unknown model is 404", async () => {
    expect((await ask("chat-2", "Hi")).status).toBe(404);
    expect((await ask("demo", "Hi")).status).toBe(404);
  });
});

describe("an alias", () => {
  it("splits by weight, keeps to its model, and says which", async () => {
    const served = new Map<string, number>();
    for (let number = 0; number < 60; number++) {
      const response = await ask("fast", `Conversation ${number}`);
      const model = response.headers.get("x-warmpath-model") ?? "";
      expect(poolOf(response) === "canary").toBe(model === "next");
      expect(asked.at(-1)?.headers.get("x-warmpath-model")).toBe(model);
      served.set(model, (served.get(model) ?? 0) + 1);
      expect((await ask("fast", `Conversation ${number}`, { tools: [] })).headers.get("x-warmpath-model")).toBe(model);
    }
    expect([...served.keys()].toSorted()).toEqual(["chat", "next"]);
    expect(served.get("next")).toBeGreaterThan(6);
    expect(served.get("next")).toBeLessThan(27);
  });

  it("follows the session", async () => {
    const models = await Promise.all(
      ["a", "b", "c", "d", "e", "f"].map(async (text) => (await ask("fast", text, { user: "ann" })).headers.get("x-warmpath-model")),
    );
    expect(new Set(models).size).toBe(1);
  });

  it("is listed once, behind the models", async () => {
    const listed = await (await fetchApp("/v1/models", {}, many)).json<{ data: { id: string }[] }>();
    expect(listed.data.map(({ id }) => id)).toEqual(["chat", "next", "fast"]);
    expect((await fetchApp("/v1/models/fast", {}, many)).status).toBe(200);
  });
});

describe("the directory", () => {
  const directory = env.DIRECTORY.getByName("of this test");

  it("has every pool's card, and a sketch only for who has another", async () => {
    const listed = await directory.cards({ eu: 0, us: 0, "never-joined": 0 }, true);
    expect(listed.map(({ card }) => [card.pool, card.model, card.replicas])).toEqual([
      ["eu", "demo", 1],
      ["us", "demo", 1],
      ["never-joined", null, 0],
    ]);
    const [first] = listed;
    expect(Sketch.parse(first?.card.sketch ?? new Uint8Array())?.segments).toBeGreaterThan(10);
    expect(first?.card.load).toMatchObject({ inFlight: 0, waiting: 0, fullShare: 0 });
    const again = await directory.cards({ eu: first?.card.sketchVersion ?? 0, us: 1 });
    expect(again.map(({ card }) => card.sketch !== undefined)).toEqual([false, true]);
  });

  it("ages what it has while a pool is asked again", async () => {
    vi.setSystemTime(Date.now() + 700);
    expect((await directory.cards({ eu: 0 }))[0]?.ageMs).toBeGreaterThanOrEqual(700);
  });

  it("is not needed: without it the pools are asked", async () => {
    const down: Env = {
      ...many,
      DIRECTORY: { getByName: () => ({ cards: () => Promise.reject(new Error("down")) }) } as unknown as Env["DIRECTORY"],
    };
    vi.setSystemTime(Date.now() + 1_100);
    expect((await ask("chat", "Hi", {}, down)).status).toBe(200);
  });

  it("is never asked where there is one pool", async () => {
    const none: Env = { ...env, DIRECTORY: undefined as unknown as Env["DIRECTORY"] };
    const only = await MockReplica.join("default", "d0");
    const response = await ask("demo", "Hi", {}, none);
    expect([response.status, poolOf(response), response.headers.get("x-warmpath-pool-reason")]).toEqual([200, "default", null]);
    only.close();
  });
});

describe("WARMPATH_MODELS", () => {
  const problemOf = (models: unknown): string => {
    try {
      configOf({ ...env, WARMPATH_MODELS: typeof models === "string" ? models : JSON.stringify(models) });
    } catch (error) {
      return error instanceof Error ? error.message : "";
    }
    return "none";
  };
  const chat = { pools: [{ pool: "a" }] };

  it("gives pools, regions and aliases", () => {
    const config = configOf(many);
    expect([config.pools, config.regionOf("us"), config.regionOf("canary")]).toEqual([["eu", "us", "canary"], "us", ""]);
    expect(config.models?.get("chat")).toEqual(["eu", "us"]);
    expect(config.aliases.get("fast")).toEqual([
      { name: "chat", weight: 3 },
      { name: "next", weight: 1 },
    ]);
  });

  it.each([
    ["{", /^WARMPATH_MODELS: is no JSON/],
    [{ models: {} }, "WARMPATH_MODELS.models: names no model"],
    [{ models: { chat: { pools: [] } } }, /^WARMPATH_MODELS\.models\.chat\.pools: /],
    [{ models: { chat: { pools: [{ pool: "a_b" }] } } }, /^WARMPATH_MODELS\.models\.chat\.pools\.0\.pool: a pool's name/],
    [{ models: { chat: { pools: [{ pool: "a", zone: "x" }] } } }, /^WARMPATH_MODELS\.models\.chat\.pools\.0: /],
    [{ models: { chat, other: chat } }, "WARMPATH_MODELS.models.other.pools.0.pool: pool a serves chat already; a pool has one model"],
    [
      { models: { chat }, aliases: { chat: [{ model: "chat" }] } },
      "WARMPATH_MODELS.aliases.chat: is a model's name; an alias needs another",
    ],
    [{ models: { chat }, aliases: { fast: [{ model: "cat" }] } }, "WARMPATH_MODELS.aliases.fast.0.model: there is no model cat in models"],
    [{ models: { chat }, aliases: { fast: [{ model: "chat", weight: 0 }] } }, "WARMPATH_MODELS.aliases.fast: every weight is 0"],
  ])("%j is refused, saying where and why", (models, message) => {
    expect(problemOf(models)).toMatch(message);
  });
});

describe("what an edge books at a pool", () => {
  it("is settled by a stream's first content, while the answer goes on", async () => {
    const edge = new EdgeView();
    const booked = (): number => (edge.card("eu")?.bookedMs ?? 0) + (edge.card("us")?.bookedMs ?? 0);
    const slow = new SlowAnswer({ "content-type": "text/event-stream" });
    let id = "";
    vi.stubGlobal("fetch", (_url: string, init: RequestInit) => {
      id = new Headers(init.headers).get("x-request-id") ?? "";
      return Promise.resolve(slow.response);
    });
    const body = JSON.stringify({ model: "chat", stream: true, messages: [{ role: "user", content: long("lakes") }] });
    const context = createExecutionContext();
    const request = new Request("https://edge.test/v1/chat/completions", { method: "POST", headers, body });
    const response = await createApp(edge).fetch(request, many, context);
    expect(response.status).toBe(200);
    expect(booked()).toBeGreaterThan(0);
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    const readTo = async (end: string): Promise<void> => {
      for (let text = ""; !text.includes(end);) text += (await reader?.read())?.value ?? end;
    };
    slow.write('data: {"first":1}\n\n');
    await readTo("first");
    // What comes second is passed on after the first was noted.
    slow.write('data: {"second":2}\n\n');
    await readTo("second");
    expect(booked()).toBe(0);
    slow.end("data: [DONE]\n\n");
    await readTo("[DONE]");
    replicas.find(({ pool }) => id.startsWith(`req_${pool}_`))?.settle(id);
    await waitOnExecutionContext(context);
  });
});
