/** Receivers that ask for what is not theirs, ask slowly or do not read: a sender gives them nothing, and others what they ask. */
import { once } from "node:events";
import { request as httpRequest, type ClientRequest } from "node:http";
import type { Agent } from "undici";
import { afterEach, beforeEach, expect, test } from "vitest";
import { transferAgent } from "../../gpu-backend/transfer/fetch.ts";
import type { Sender } from "../../gpu-backend/transfer/send.ts";
import type { SenderLimits } from "../../gpu-backend/transfer/sender-limits.ts";
import { encodeTokens } from "../../src/wire/kv-ask.ts";
import { FakeEngine, fakeRequest } from "./transfer-engine.ts";
import { fetchFor, makeSender, prose, pullFor, serveSender, type Serving, ticketFor, until } from "./transfer-rig.ts";

const prompt = prose(16 * 20);
let dispatcher: Agent;
let engine: FakeEngine;
let sender: Sender;
let serving: Serving;
let asks: ClientRequest[] = [];

async function open(limits: Partial<SenderLimits> = {}, tokenBytes = 64): Promise<void> {
  engine = new FakeEngine("fake 1", tokenBytes);
  sender = makeSender(engine, null, limits);
  serving = await serveSender(sender);
}

/** Holds the prompt's blocks from now on. */
async function warm(): Promise<void> {
  await engine.prefill(fakeRequest(prompt), new Set(), new AbortController().signal);
}

beforeEach(() => {
  dispatcher = transferAgent();
  asks = [];
});
afterEach(async () => {
  for (const ask of asks) ask.destroy();
  await dispatcher.close();
  await until(() => sender.load.pulls + sender.load.prefills === 0);
  await serving.close();
});

interface RawAsk {
  ask: unknown;
  body?: Uint8Array;
  ticket?: string;
  /** Of the body; the rest never comes. */
  sent?: number;
}

function raw({ ask, body = new Uint8Array(), ticket = ticketFor({ kind: "pull" }), sent }: RawAsk): ClientRequest {
  const json = Buffer.from(JSON.stringify(ask));
  const whole = Buffer.concat([json, body]);
  const headers = {
    "x-warmpath-ticket": ticket,
    "x-warmpath-trial": "1",
    "x-warmpath-ask-bytes": json.length,
    "content-length": whole.length,
  };
  const going = httpRequest(`${serving.url}/kv/blocks`, { method: "POST", headers, agent: false });
  going.on("error", () => undefined);
  asks.push(going);
  if (sent === undefined) going.end(whole);
  else going.write(whole.subarray(0, sent));
  return going;
}

async function statusOf(going: ClientRequest): Promise<number> {
  const [response] = (await once(going, "response")) as [{ statusCode: number; resume(): void }];
  response.resume();
  return response.statusCode;
}

/** By a receiver that holds nothing. */
const pullAll = () => {
  const { release, card } = engine;
  return pullFor({ url: serving.url, prompt, dispatcher, engine: new FakeEngine(release, card.kvTokenBytes) }, 0, 20);
};

test("a pull ticket gives the blocks of its own salt, whoever's keys its holder knows", async () => {
  await open();
  await warm();
  const of = (salt: string) => pullFor({ url: serving.url, prompt, dispatcher, ticket: ticketFor({ kind: "pull", salt }) }, 0, 20);
  // The prompt's blocks are held under the salt "s".
  expect(await of("another")).toMatchObject({ ok: false, why: "gone" });
  expect(await of("s")).toMatchObject({ ok: true, shortfall: null });
});

test("an ask that names keys, a block twice, too much or too little is refused", async () => {
  await open();
  await warm();
  const { contextTokens } = engine;
  const { kvSpace } = engine.card;
  const { tokens, blockKeys } = engine.prepareNow(fakeRequest(prompt));
  const body = encodeTokens(tokens);
  expect(await statusOf(raw({ ask: { kvSpace, keys: Array.from({ length: 16_384 }, () => blockKeys[0]) } }))).toBe(400);
  expect(await statusOf(raw({ ask: { kvSpace, from: 3, to: 3 }, body }))).toBe(400);
  expect(await statusOf(raw({ ask: { kvSpace, from: 0, to: 20 }, body: body.subarray(1) }))).toBe(400);
  const long = Uint32Array.from({ length: contextTokens + 16 }, (_, i) => i);
  for (const [to, given] of [
    [16_384, body],
    [19, body],
    [long.length / 16, encodeTokens(long)],
  ] as const) {
    const going = raw({ ask: { kvSpace, from: 0, to }, body: given });
    const [response] = (await once(going, "response")) as [AsyncIterable<Uint8Array>];
    let bytes = 0;
    for await (const chunk of response) bytes += chunk.length;
    // One frame: an error.
    expect(bytes).toBeLessThan(100);
  }
});

test("receivers that do not read, as many as there are places, make room for one that does", async () => {
  await open({ yieldMs: 50 }, 65_536);
  await warm();
  const { kvSpace } = engine.card;
  const body = encodeTokens(engine.prepareNow(fakeRequest(prompt)).tokens);
  for (let n = 0; n < 4; n++) {
    const going = raw({ ask: { kvSpace, from: 0, to: 20 }, body });
    const [response] = (await once(going, "response")) as [{ pause(): void }];
    response.pause();
  }
  await until(() => sender.load.pulls === 4);
  let pulled = await pullAll();
  // The places are known to stand still only after a moment.
  for (let n = 0; n < 40 && !pulled.ok; n++) pulled = await pullAll();
  expect(pulled).toMatchObject({ ok: true, shortfall: null });
});

test("receivers that never finish to ask take nobody's place", async () => {
  await open();
  await warm();
  const { kvSpace } = engine.card;
  const body = encodeTokens(engine.prepareNow(fakeRequest(prompt)).tokens);
  for (let n = 0; n < 8; n++) raw({ ask: { kvSpace, from: 0, to: 20 }, body, sent: 40 });
  await until(() => serving.sockets.size === 8);
  expect(await pullAll()).toMatchObject({ ok: true, shortfall: null });
});

test("a receiver that reads a little now and then ends with the time of its ticket", async () => {
  await open({ giveMs: 300, leastBytesPerMs: 1e9 }, 65_536);
  await warm();
  const { kvSpace } = engine.card;
  const going = raw({ ask: { kvSpace, from: 0, to: 20 }, body: encodeTokens(engine.prepareNow(fakeRequest(prompt)).tokens) });
  const [response] = (await once(going, "response")) as [{ read(size: number): unknown; on(event: string, done: () => void): void }];
  let cut = false;
  response.on("error", () => (cut = true));
  response.on("aborted", () => (cut = true));
  const drip = setInterval(() => response.read(1_000), 10);
  await until(() => sender.load.pulls === 0 || cut);
  clearInterval(drip);
});

test("a sender that is slow and says how far it is, is waited for", async () => {
  await open({ pulseMs: 50 });
  // Longer than the 3.9 s without progress, shorter than the most, 5.8 s.
  engine.delayMs = 4_300;
  engine.steps = 20;
  const fetched = await fetchFor({ url: serving.url, prompt, dispatcher, expected: { msPerToken: 2, measured: true } });
  expect(fetched).toMatchObject({ ok: true, shortfall: null });
});

test("a sender that claims to have more than the prompt is not believed", async () => {
  await open({ pulseMs: 20 });
  engine.delayMs = 5_000;
  engine.steps = 100;
  const progressed = engine.prefill.bind(engine);
  engine.prefill = (request, wanted, signal, options) =>
    progressed(request, wanted, signal, { progressed: () => options?.progressed?.(1_000_000) });
  expect(await fetchFor({ url: serving.url, prompt, dispatcher })).toMatchObject({ ok: false, why: "lied" });
});
