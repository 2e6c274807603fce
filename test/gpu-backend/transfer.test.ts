import { createServer, type Server } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Agent } from "undici";
import type { EngineKey, KeyedBlock, Prefilled } from "../../gpu-backend/engine/engine.ts";
import { transferAgent } from "../../gpu-backend/transfer/fetch.ts";
import { PendingPrefills } from "../../gpu-backend/transfer/pending-prefills.ts";
import type { BlockSource } from "../../gpu-backend/transfer/block-source.ts";
import type { Sender } from "../../gpu-backend/transfer/send.ts";
import { FakeEngine, fakeRequest } from "./transfer-engine.ts";
import { answerWith, fetchFor, makeSender, prose, pullFor, serveSender, type Serving, ticketFor, until } from "./transfer-rig.ts";

const idle = { prefills: 0, pulls: 0, promised: 0, promisedBytes: 0, pinned: 0 };
const prompt = prose(16 * 20 + 5);
const truth = new FakeEngine().answer(fakeRequest(prompt));

let engine: FakeEngine;
let sender: Sender;
let serving: Serving;
let dispatcher: Agent;

async function open(source: BlockSource | null = null, limits = {}): Promise<void> {
  engine = new FakeEngine();
  sender = makeSender(engine, source, limits);
  serving = await serveSender(sender);
}

beforeEach(async () => {
  dispatcher = transferAgent();
  await open();
});

afterEach(async () => {
  await dispatcher.close();
  await until(() => JSON.stringify(sender.load) === JSON.stringify(idle));
  expect(engine.running).toBe(0);
  await until(() => serving.sockets.size === 0);
  await serving.close();
});

const ask = (changes = {}) => ({ url: serving.url, prompt, dispatcher, ...changes });

test("blocks, tail and first token come, and the answer is the same", async () => {
  const fetched = await fetchFor(ask());
  expect(fetched).toMatchObject({
    ok: true,
    shortfall: null,
    trials: 1,
    restore: { from: 0, tail: { first: { bytes: new Uint8Array([195, 169]) } } },
  });
  expect(fetched.ok && fetched.blocks.length).toBe(20);
  expect(fetched.ok && fetched.restore.tail?.first.logprobs?.top[0]?.logprob).toBe(-Infinity);
  expect(answerWith(prompt, fetched)).toEqual(truth);
});

test.each([1, 15, 16, 17, 32, 33])("prompts of %i tokens: with and without a full block, with and without a tail", async (tokens) => {
  const short = prose(tokens, "z");
  const fetched = await fetchFor(ask({ prompt: short }));
  expect(fetched).toMatchObject({ ok: true, shortfall: null });
  expect(answerWith(short, fetched)).toEqual(new FakeEngine().answer(fakeRequest(short)));
});

test("a second request that shares 80 % of the prompt moves about 20 % of the bytes", async () => {
  const [own, other] = [prose(1_600), prose(1_600).slice(0, 1_280) + prose(320, "q")];
  const first = await fetchFor(ask({ prompt: own }));
  const held = new Set(first.ok ? first.blocks.map((block) => block.key) : []);
  const keys = new FakeEngine().prepareNow(fakeRequest(other)).blockKeys;
  const have = keys.findIndex((each) => !held.has(each));
  expect(have).toBe(80);
  const second = await fetchFor(ask({ prompt: other, have }));
  expect(second.bytes / first.bytes).toBeGreaterThan(0.19);
  expect(second.bytes / first.bytes).toBeLessThan(0.21);
  expect(answerWith(other, second)).toEqual(new FakeEngine().answer(fakeRequest(other)));
  // Nothing but the tail when all blocks are there.
  expect((await fetchFor(ask({ prompt: other, have: 100 }))).bytes).toBeLessThan(1_000);
});

test("a sender that computes longer than the receiver's patience pulses", async () => {
  await serving.close();
  await open(null, { pulseMs: 50 });
  engine.delayMs = 900;
  expect(await fetchFor(ask({ times: { stallMs: 300, totalMs: 3_000 } }))).toMatchObject({ ok: true, shortfall: null });
});

test("a sender that only says that it lives, for longer than the prediction allows, is given up, and its engine stops", async () => {
  await serving.close();
  await open(null, { pulseMs: 50 });
  engine.delayMs = 60_000;
  const start = performance.now();
  const fetched = await fetchFor(ask({ expected: { msPerToken: 0.1, measured: true } }));
  expect(fetched).toMatchObject({ ok: false, why: "timeout" });
  expect(performance.now() - start).toBeLessThan(4_000);
  await until(() => engine.running === 0);
});

test("cancelling reaches both: the receiver ends at once, the sender's engine too", async () => {
  engine.delayMs = 60_000;
  const cancel = new AbortController();
  const going = fetchFor(ask({ signal: cancel.signal, stallMs: 5_000, expected: { msPerToken: 100, measured: true } }));
  await until(() => engine.running === 1);
  cancel.abort();
  expect(await going).toMatchObject({ ok: false, why: "cancelled" });
  await until(() => engine.running === 0, 500);
});

test("the pool's cancel ends it at the sender", async () => {
  engine.delayMs = 60_000;
  const going = fetchFor(ask({ ticket: ticketFor({ id: "req_x" }), stallMs: 5_000, expected: { msPerToken: 100, measured: true } }));
  await until(() => engine.running === 1);
  sender.cancel("req_x", 1);
  expect(await going).toMatchObject({ ok: false, why: "cut" });
});

test("a sender without a free place answers that it is busy", async () => {
  await serving.close();
  await open(null, { prefills: 1 });
  engine.delayMs = 300;
  const first = fetchFor(ask());
  await until(() => engine.running === 1);
  expect(await fetchFor(ask())).toMatchObject({ ok: false, why: "busy" });
  expect((await first).ok).toBe(true);
});

test.each([
  ["used before", () => ticketFor({ id: "same" })],
  ["expired", () => ticketFor({ expiresAtMs: Date.now() - 1 })],
  ["of another pool", () => ticketFor({}, Buffer.from("x"))],
  ["for a pull", () => ticketFor({ kind: "pull" })],
  ["none", () => "x"],
])("a ticket that is %s is refused", async (_name, make) => {
  const ticket = make();
  await fetchFor(ask({ ticket }));
  expect(await fetchFor(ask({ ticket }))).toMatchObject({ ok: false, why: "refused", bytes: 0 });
});

test("another KV space, other tokens, more `have` than there is: refused before anything is computed", async () => {
  expect(await fetchFor(ask({ engine: new FakeEngine("fake 2") }))).toMatchObject({ ok: false, why: "refused" });
  expect(await fetchFor(ask({ have: 21 }))).toMatchObject({ ok: false, why: "refused" });
  const going = fetchFor(ask({ prompt: `${prompt}!` }));
  expect(await going).toMatchObject({ ok: true });
  expect(engine.prefills).toBe(1);
});

test("blocks evicted between the ask and the transfer: what came before the gap is good", async () => {
  const { blockKeys } = engine.prepareNow(fakeRequest(prompt));
  engine.beforeGiving = () => engine.held.delete(blockKeys[7] ?? ("" as EngineKey));
  const fetched = await fetchFor(ask());
  expect(fetched).toMatchObject({ ok: true, shortfall: "gone", restore: { tail: null } });
  expect(fetched.ok && fetched.blocks.length).toBe(7);
  expect(answerWith(prompt, fetched)).toEqual(truth);
});

test("blocks are pulled from device and tiers, as far as they are there; pins end with the pull", async () => {
  await serving.close();
  const store = new Map<EngineKey, KeyedBlock>();
  let pins = 0;
  const source: BlockSource = {
    load: (wanted) => Promise.resolve(wanted.flatMap(({ key }) => store.get(key) ?? [])),
    restoreOf: () => Promise.resolve(undefined),
    keep: () => undefined,
    pin: () => {
      pins += 1;
      return () => (pins -= 1);
    },
  };
  await open(source, { batchBytes: 4_096 });
  await fetchFor(ask());
  const { blockKeys } = engine.prepareNow(fakeRequest(prompt));
  for (const [i, each] of blockKeys.entries()) {
    const block = engine.held.get(each);
    if (i % 3 === 0 && block !== undefined) {
      store.set(each, block);
      engine.held.delete(each);
    }
  }
  const pulled = await pullFor(ask(), 4, 20);
  expect(pulled).toMatchObject({ ok: true, shortfall: null, restore: { from: 4, tail: null } });
  expect(answerWith(prompt, pulled)).toEqual(truth);
  store.delete(blockKeys[9] ?? ("" as EngineKey));
  const partial = await pullFor(ask(), 4, 20);
  expect(partial).toMatchObject({ ok: true, shortfall: "gone", restore: { from: 4 } });
  expect(partial.ok && partial.blocks.length).toBe(5);
  expect(answerWith(prompt, partial)).toEqual(truth);
  expect(await pullFor(ask(), 9, 20)).toMatchObject({ ok: false, why: "gone" });
  expect(pins).toBe(0);
});

test("nobody there, and a port that is no replica", async () => {
  expect(await fetchFor(ask({ url: "http://127.0.0.1:1" }))).toMatchObject({ ok: false, why: "unreachable" });
  const other: Server = createServer((_request, response) => response.writeHead(404).end()).listen(0, "127.0.0.1");
  await sleep(20);
  const address = other.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  expect(await fetchFor(ask({ url: `http://127.0.0.1:${port}` }))).toMatchObject({ ok: false, why: "refused" });
  other.closeAllConnections();
  other.close();
});

test("a receiver that reads slowly slows the sender down; one that stops is given up, and what was computed is promised", async () => {
  await serving.close();
  engine = new FakeEngine("fake 1", 16_384);
  sender = makeSender(engine, null, { drainMs: 200 });
  serving = await serveSender(sender);
  const long = prose(1_600);
  const { blockKeys, tokens } = engine.prepareNow(fakeRequest(long));
  const text = JSON.stringify({
    kvSpace: engine.card.kvSpace,
    promptTokens: tokens.length,
    tip: blockKeys.at(-1),
    have: 0,
    api: "chat",
    historyBytes: 0,
  });
  const answer = await fetch(`${serving.url}/kv/prefill`, {
    method: "POST",
    headers: {
      "x-warmpath-ticket": ticketFor({ expiresAtMs: Date.now() + 60_000 }),
      "x-warmpath-trial": "1",
      "x-warmpath-ask-bytes": String(text.length),
    },
    body: text + long,
  });
  expect(answer.status).toBe(200);
  await until(() => sender.load.promised === 1, 20_000);
  expect(sender.load.promisedBytes).toBe(1_600 * 16_384);
  await answer.body?.cancel().catch(() => undefined);
  sender.close();
});

test("a promise ends with its ticket", () => {
  vi.useFakeTimers();
  const promised = new PendingPrefills(1_000);
  const data = new Uint8Array(400);
  const none = { tokens: new Uint32Array(), data };
  const first = { token: 1, bytes: new Uint8Array(), logprobs: null };
  const given: Prefilled = {
    type: "prefilled",
    promptTokens: 1,
    cachedTokens: 0,
    restoreMs: 0,
    prefillMs: 1,
    first,
    blocks: [],
    tail: none,
  };
  promised.keep("one", given, 1_500);
  vi.advanceTimersByTime(1_499);
  expect(promised.usedBytes).toBe(400);
  vi.advanceTimersByTime(1);
  expect(promised).toMatchObject({ count: 0, usedBytes: 0 });
  expect(promised.take("one")).toBeNull();
  vi.useRealTimers();
});
