/** The adapter to vLLM before a server with vLLM's shape that computes and announces its blocks over zeromq. */
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Engine, EngineKey } from "../../gpu-backend/engine/engine.ts";
import { residencyOf } from "../../gpu-backend/engine/residency-state.ts";
import { accepted, prose, request, runOf, seen } from "../conformance/engine-runs.ts";
import { openAdapter } from "./openai-adapter.ts";
import { vllmServer, type VllmServer } from "./vllm-server.ts";

let server: VllmServer;
let engine: Engine;
beforeAll(async () => {
  server = await vllmServer();
  engine = await openAdapter(server, { WARMPATH_ENGINE: "vllm" });
  await exact(engine);
});
afterAll(async () => {
  await engine.close();
  await server.close();
});
afterEach(() => {
  server.state = {};
});

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await pause(2);
}
const exact = (of: Engine): Promise<void> => until(() => residencyOf(of).state === "exact");

test("it is found, its events are followed, and what it holds is exact", () => {
  expect(engine.card.release).toBe("vllm 0.32.0");
  expect(engine.kv?.exchange).toBeNull();
  expect(residencyOf(engine)).toEqual({ state: "exact" });
});

test("each block of a prompt is announced by the key that the prompt has, and the next run starts with what is held", async () => {
  const held = new Set<EngineKey>();
  const other = await openAdapter(server, { WARMPATH_ENGINE: "vllm" });
  try {
    other.kv?.onResidency((changes) => changes.forEach(({ key, held: is }) => (is ? held.add(key) : held.delete(key))));
    await exact(other);
    const prompt = prose("announced", 60);
    const { queued, finished } = await runOf(other, prompt, { salt: "tenant", maxTokens: 2 });
    const keys = queued.blocks?.blockKeys ?? [];
    expect(keys).toHaveLength(Math.floor(finished.promptTokens / other.card.blockTokens));
    await until(() => keys.every((key) => held.has(key)));
    const again = await runOf(other, prompt, { salt: "tenant", maxTokens: 2 });
    expect(again.events.find(({ type }) => type === "started")).toMatchObject({ cachedTokens: again.finished.cachedTokens });
    expect(again.finished.cachedTokens).toBeGreaterThan(32);
    const stranger = await runOf(other, prompt, { salt: "stranger", maxTokens: 2 });
    expect(stranger.events.find(({ type }) => type === "started")).toMatchObject({ cachedTokens: 0 });
  } finally {
    await other.close();
  }
});

test("where tokens end is asked for beside the request, and soon known without asking", async () => {
  const asked = (): number => server.tokenized.filter((body) => body["return_token_strs"] === true).length;
  const prompt = "Grüße, 你好 🙂! ends";
  const queued = async () => (await runOf(engine, prompt, { maxTokens: 1 })).queued;
  const first = (await queued()).blocks?.tokenEnds;
  expect(first).toBeInstanceOf(Promise);
  const known = (await first) ?? new Uint32Array();
  expect(known.at(-1)).toBe(Buffer.byteLength(prompt));
  const before = asked();
  expect((await queued()).blocks?.tokenEnds).toEqual(known);
  expect(asked()).toBe(before);
});

test("a server that does not tokenize in time gets the text, and what that leaves is predicted", async () => {
  server.state = { tokenizesAfterMs: 1_500 };
  const prompt = prose("late", 20);
  const { queued, finished } = await runOf(engine, prompt, { maxTokens: 2 });
  expect([queued.blocks, finished.reason]).toEqual([{ tokenEnds: new Uint32Array(), blockKeys: [] }, "length"]);
  expect(server.bodies.at(-1)?.["prompt"]).toBe(prompt);
  // A client's text could spell a control token there.
  expect(await engine.run(request("say <|im_end|> aloud", { cuts: [5] }))).toMatchObject({ reason: "unavailable" });
});

test.each([
  ["paused", { is_paused: true }, "paused"],
  ["asleep", { is_sleeping: true }, "asleep"],
])(
  "an engine that is %s takes nothing although it is healthy, gives back what has no token yet, and goes on afterwards",
  async (_, rests, word) => {
    server.next = (_request, response) => response.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
    const hanging = await accepted(engine, request("hangs", { maxTokens: 4 }));
    server.state = rests;
    expect((await seen(hanging)).finished).toMatchObject({ reason: "error", message: expect.stringContaining(word) });
    expect(await engine.run(request("x"))).toMatchObject({ reason: "unavailable", message: expect.stringContaining(word) });
    server.state = {};
    for (;;) {
      const run = await engine.run(request("goes on", { maxTokens: 2 }));
      if (run.type === "accepted") break;
      await pause(20);
    }
  },
);

test("an engine that drains fails all and says that it is healthy: it is known by a request of ours, and tried again", async () => {
  server.state = { drains: true };
  expect(await engine.run(request("x"))).toMatchObject({ reason: "unavailable", message: expect.stringContaining("500") });
  await until(() => (server.bodies.at(-1) ?? {})["prompt"] === "Hello");
  for (let message = ""; !message.includes("fails whatever");) {
    const run = await engine.run(request("x"));
    message = "message" in run ? run.message : "";
  }
  server.state = {};
  for (;;) {
    const run = await engine.run(request("goes on", { maxTokens: 2 }));
    if (run.type === "accepted") break;
    await pause(20);
  }
});

test("one client's request that a server fails at stops nobody else", async () => {
  server.next = (_request, response) => void response.writeHead(500).end();
  expect(await engine.run(request("poison"))).toMatchObject({ reason: "unavailable" });
  const before = server.bodies.length;
  await until(() => server.bodies.length > before);
  for (let turn = 0; turn < 3; turn++) expect((await runOf(engine, "others", { maxTokens: 1 })).finished.reason).toBe("length");
});

test("a server that is no vLLM is refused by name", async () => {
  const plain = await vllmServer({ isVllm: false });
  try {
    await expect(openAdapter(plain, { WARMPATH_ENGINE: "vllm" })).rejects.toThrow(/no vLLM; use openai/);
  } finally {
    await plain.close();
  }
});

test("a vLLM that announces nothing, and one of several ranks, is predicted, and why is said", async () => {
  const silent = await vllmServer({ sources: {} });
  const ranks = { "0": { endpoint: "tcp://*:1" }, "1": { endpoint: "tcp://*:2" } };
  const wide = await vllmServer({ sources: ranks });
  const [one, other, pinned] = await Promise.all([
    openAdapter(silent, { WARMPATH_ENGINE: "vllm" }),
    openAdapter(wide, { WARMPATH_ENGINE: "vllm" }),
    openAdapter(wide, { WARMPATH_ENGINE: "vllm", WARMPATH_ENGINE_RANK: "1" }),
  ]);
  try {
    expect(residencyOf(one)).toMatchObject({ state: "predicted", why: expect.stringContaining("no source") });
    expect(residencyOf(other)).toMatchObject({ state: "predicted", why: expect.stringContaining("--rank") });
    expect([one.kv, other.kv]).toEqual([null, null]);
    expect(residencyOf(pinned)).toMatchObject({ state: "degraded", why: "its KV events do not come" });
    await runOf(pinned, "pinned", { maxTokens: 1 });
    expect(wide.headers["x-data-parallel-rank"]).toBe("1");
  } finally {
    for (const each of [one, other, pinned]) await each.close();
    for (const each of [silent, wide]) await each.close();
  }
});

test("an engine that is killed and comes back empty on the same ports is a new life, and exact again", async () => {
  const dying = await vllmServer();
  const adapter = await openAdapter(dying, { WARMPATH_ENGINE: "vllm" });
  const held = new Set<EngineKey>();
  adapter.kv?.onResidency((changes) => changes.forEach(({ key, held: is }) => (is ? held.add(key) : held.delete(key))));
  const back = new Promise<void>((resolve) => adapter.onRestart(resolve));
  try {
    await exact(adapter);
    await runOf(adapter, prose("first life", 60), { maxTokens: 2 });
    await until(() => held.size > 2);
    await dying.kill();
    expect(await adapter.run(request("", { tokens: [1, 2, 3] }))).toMatchObject({ reason: "unavailable" });
    expect(residencyOf(adapter).state).toBe("degraded");
    expect(held.size).toBe(0);
    await dying.revive();
    await back;
    await exact(adapter);
    expect(held.size).toBe(0);
    const { queued } = await runOf(adapter, prose("second life", 60), { maxTokens: 2 });
    await until(() => queued.blocks?.blockKeys.every((key) => held.has(key)) === true);
  } finally {
    await adapter.close();
    await dying.close();
  }
});
