import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BlockPayload, EngineKey, EngineRequest, FirstToken, Restore } from "../../gpu-backend/engine/engine.ts";
import type { LlamaEngine } from "../../gpu-backend/engine/llama-cpp/engine.ts";
import { again, kvPrefill, kvPrepare, kvPrompt, kvRequest, kvRun } from "../conformance/engine-kv.ts";
import { accepted, prose, request, startDemo, until } from "./engine-runs.ts";

let first: LlamaEngine;
let second: LlamaEngine;
const resident = new Set<EngineKey>();

beforeAll(async () => {
  [first, second] = await Promise.all([startDemo({ queueLimit: 16 }), startDemo({ sequences: 2, queueLimit: 16 })]);
  second.kv.onResidency((changes) => {
    for (const { key, held } of changes) {
      expect(resident.has(key)).toBe(!held);
      if (held) resident.add(key);
      else resident.delete(key);
    }
  });
});
afterAll(() => Promise.all([first.close(), second.close()]));

interface Parts {
  restore: Restore;
  blocks: BlockPayload[];
  tail: { payload: BlockPayload; first: FirstToken };
}

async function prefilled(asked: EngineRequest): Promise<Parts> {
  const { blockKeys } = await kvPrepare(first, asked);
  const { blocks, tail: payload, first: token } = await kvPrefill(first, again(asked), blockKeys);
  const tail = { payload, first: token };
  return { restore: { from: 0, blocks, tail }, blocks, tail };
}

const without = (payload: BlockPayload, bytes: number): BlockPayload => ({ ...payload, data: payload.data.slice(0, -bytes) });
const turned = (payload: BlockPayload): BlockPayload => ({
  ...payload,
  tokens: payload.tokens.map((token, i) => (i === 1 ? token ^ 1 : token)),
});

describe("the card", () => {
  it("names the KV space, whatever the number of sequences", () => {
    expect(first.kv.exchange.card.kvSpace).toMatch(/^[0-9a-f]{64}$/);
    expect(second.kv.exchange.card.kvSpace).toBe(first.kv.exchange.card.kvSpace);
    expect(first.kv.exchange.card.kvTokenBytes).toBe(4 * 2 * (128 / 4) * 2 * 2);
  });
});

describe("prepare", () => {
  it("names tokens, keys, and what is held and reusable", async () => {
    const prompt = await kvPrompt(second, 96, "prepare");
    const asked = kvRequest(prompt);
    const cold = await kvPrepare(second, asked);
    expect(cold).toMatchObject({ heldBlocks: 0, reusableBlocks: 2 });
    expect([cold.tokens.length, cold.blockKeys.length]).toEqual([96, 3]);
    await kvRun(second, again(asked));
    expect(await kvPrepare(second, asked)).toEqual({ ...cold, heldBlocks: 3 });
    expect(await kvPrepare(second, kvRequest(prompt))).toMatchObject({ heldBlocks: 0 });
    expect(await second.prepare(kvRequest(prose("long", 800)))).toMatchObject({ reason: "context_length_exceeded" });
  });
});

describe("a restore", () => {
  it("is never used when it does not fit, and the answer is as if it had not come", async () => {
    const asked = kvRequest(await kvPrompt(first, 100, "corrupt"));
    const cold = await kvRun(first, { ...asked, id: "corrupt-cold", salt: "corrupt-cold" });
    const { blocks, tail } = await prefilled(asked);
    const [one, two, three] = blocks;
    if (one === undefined || two === undefined || three === undefined) throw new Error("no blocks");
    const wrong: Record<string, Restore> = {
      "another token": { from: 0, blocks: [one, turned(two), three], tail },
      "short data": { from: 0, blocks: [one, two, without(three, 1)], tail },
      "no data": { from: 0, blocks: [one, { ...two, data: new Uint8Array() }, three], tail: null },
      "long data": { from: 0, blocks: [{ ...one, data: new Uint8Array(one.data.length * 2) }], tail: null },
      "an extra block": { from: 0, blocks: [one, two, three, three], tail },
      "another order": { from: 0, blocks: [two, one, three], tail: null },
      "another from": { from: 1, blocks: [one, two], tail: null },
      "a negative from": { from: -1, blocks: [one, two], tail: null },
      "no number": { from: Number.NaN, blocks: [one, two], tail: null },
      "a short block": {
        from: 0,
        blocks: [{ tokens: one.tokens.slice(1), data: one.data.slice(first.kv.exchange.card.kvTokenBytes) }],
        tail: null,
      },
      "another tail": { from: 0, blocks, tail: { ...tail, payload: turned(tail.payload) } },
      "a short tail": { from: 0, blocks, tail: { ...tail, payload: without(tail.payload, 2) } },
      "no such token": { from: 0, blocks, tail: { ...tail, first: { ...tail.first, token: 1e9 } } },
      "no logprobs": { from: 0, blocks, tail: { ...tail, first: { ...tail.first, logprobs: null } } },
    };
    for (const [what, restore] of Object.entries(wrong)) {
      const failures = second.faults.restores;
      const { cachedTokens, ...answer } = await kvRun(second, kvRequest(asked.prompt), restore);
      expect({ what, ...answer, cachedTokens }).toEqual({ what, ...cold, cachedTokens: 0 });
      expect(second.faults.restores, what).toBe(failures + 1);
    }
  });

  it("is left aside behind a hole, and without its tail when blocks lack", async () => {
    const asked = kvRequest(await kvPrompt(first, 100, "hole"));
    const cold = await kvRun(first, kvRequest(asked.prompt));
    const { blocks, tail } = await prefilled(asked);
    expect(await kvRun(second, kvRequest(asked.prompt), { from: 1, blocks: blocks.slice(1), tail })).toEqual(cold);
    expect(await kvRun(second, kvRequest(asked.prompt), { from: 0, blocks: blocks.slice(0, 2), tail })).toEqual({
      ...cold,
      cachedTokens: 64,
    });
  });

  it("goes on behind blocks that a busy sequence holds", async () => {
    const asked = kvRequest(await kvPrompt(first, 200, "busy"));
    const cold = await kvRun(first, kvRequest(asked.prompt));
    const { blocks, tail } = await prefilled(asked);
    const start = { ...again(asked), prompt: asked.prompt.slice(0, Math.floor(asked.prompt.length / 2)), maxTokens: 800, temperature: 1 };
    const busy = await accepted(second, { ...start, logitBias: new Map([[2045, -100]]) });
    const events = busy.events[Symbol.asyncIterator]();
    await until(events, "delta");
    const { heldBlocks } = await kvPrepare(second, asked);
    expect(heldBlocks).toBeGreaterThan(1);
    const answer = await kvRun(second, asked, { from: heldBlocks, blocks: blocks.slice(heldBlocks), tail });
    busy.abort();
    expect(answer).toEqual({ ...cold, cachedTokens: 192 });
    await until(events, "finished");
  });

  it("makes blocks that later runs share, and keeps residency exact", async () => {
    const prompts = await Promise.all([70, 96, 130].map((tokens) => kvPrompt(first, tokens, "exact")));
    for (let turn = 0; turn < 18; turn++) {
      const prompt = prompts[(turn * 5) % 3] ?? "";
      const asked = kvRequest(prompt, { salt: `exact ${turn % 4}`, maxTokens: 2 });
      const before = await kvPrepare(second, asked);
      const held = before.blockKeys.findIndex((key) => !resident.has(key));
      expect(before.heldBlocks).toBe(held < 0 ? before.blockKeys.length : held);
      const { blocks, tail } = await prefilled(asked);
      const restore = turn % 3 === 0 ? { from: 0, blocks, tail } : { from: 0, blocks: blocks.slice(0, 1 + (turn % 2)), tail: null };
      await kvRun(second, asked, turn % 5 === 4 ? undefined : restore);
      const after = await kvPrepare(second, asked);
      expect(after.heldBlocks).toBe(after.blockKeys.length);
      expect(after.blockKeys.every((key) => resident.has(key))).toBe(true);
    }
  });
});

it("holds every block once when a restore goes on in place", async () => {
  const asked = kvRequest(await kvPrompt(first, 200, "place"));
  const { blocks, tail } = await prefilled(asked);
  await kvRun(second, { ...again(asked), prompt: asked.prompt.slice(0, Math.floor(asked.prompt.length / 2)), maxTokens: 1 });
  const { heldBlocks, blockKeys } = await kvPrepare(second, asked);
  expect(heldBlocks).toBeGreaterThan(1);
  await kvRun(second, asked, { from: heldBlocks, blocks: blocks.slice(heldBlocks), tail });
  expect(blockKeys.every((key) => resident.has(key))).toBe(true);
  // Both sequences get other contents.
  for (const topic of ["other", "another", "third"]) await kvRun(second, kvRequest(prose(topic, 60), { maxTokens: 1 }));
  expect(blockKeys.some((key) => resident.has(key))).toBe(false);
});

describe("a first token from elsewhere", () => {
  async function same(changes: Partial<EngineRequest>, topic: string, tokens = 70): Promise<void> {
    const prompt = await kvPrompt(first, tokens, topic);
    const cold = await kvRun(first, kvRequest(prompt, changes));
    const asked = kvRequest(prompt, changes);
    const { restore } = await prefilled(asked);
    const failures = second.faults.restores;
    const { cachedTokens, ...answer } = await kvRun(second, asked, restore);
    expect(second.faults.restores).toBe(failures);
    expect(cachedTokens).toBe(Math.floor(tokens / 32) * 32);
    expect({ ...answer, cachedTokens: 0 }).toEqual(cold);
  }

  it("goes on under penalties, bias and grammar, greedy and seeded", async () => {
    for (const sampling of [{ temperature: 0 }, { temperature: 0.8, seed: 7 }, { temperature: 1.3, seed: -5, topP: 0.9 }]) {
      await same({ ...sampling, presencePenalty: 1.5, frequencyPenalty: 1, maxTokens: 40 }, "penalties");
      await same({ ...sampling, logitBias: new Map([[65, 12]]), maxTokens: 20 }, "bias");
      await same({ ...sampling, grammar: { type: "json_object" }, maxTokens: 40 }, "grammar");
      await same({ ...sampling, logprobs: null, maxTokens: 1 }, "one");
    }
  });

  it("works for a prompt of one token, and one that fills its blocks", async () => {
    await same({}, "", 1);
    await same({}, "fills", 64);
  });

  it("may be the end, or a stop string", async () => {
    const end = new Map([[2045, 1_000]]);
    await same({ logitBias: end }, "end");
    const prompt = await kvPrompt(first, 70, "stop");
    const { text } = await kvRun(first, kvRequest(prompt, { maxTokens: 1 }));
    await same({ stop: [text] }, "stop");
  });

  it("is refused when the grammar does not allow it", async () => {
    const prompt = await kvPrompt(first, 70, "refused");
    const grammar = { type: "json_object" as const };
    const cold = await kvRun(first, kvRequest(prompt, { grammar, temperature: 1, seed: 3 }));
    const { restore } = await prefilled(kvRequest(prompt, { grammar: null, logitBias: new Map([[65, 1_000]]) }));
    const failures = second.faults.restores;
    const answer = await kvRun(second, kvRequest(prompt, { grammar, temperature: 1, seed: 3 }), restore);
    expect(answer).toEqual({ ...cold, cachedTokens: 64 });
    expect(second.faults.restores).toBe(failures + 1);
  });
});

describe("prefill", () => {
  it("gives what is wanted and stays warm", async () => {
    const asked = kvRequest(await kvPrompt(first, 100, "wanted"));
    const { blockKeys } = await kvPrepare(first, asked);
    const wanted = blockKeys.slice(1, 2);
    const given = await kvPrefill(first, asked, [...wanted, "unknown" as EngineKey]);
    expect(given).toMatchObject({ promptTokens: 100, cachedTokens: 0 });
    expect(given.blocks.map(({ key }) => key)).toEqual(wanted);
    expect([given.tail.tokens.length, given.tail.data.length]).toEqual([4, 4 * first.kv.exchange.card.kvTokenBytes]);
    const warm = await kvPrefill(first, again(asked), wanted);
    expect(warm).toEqual({ ...given, cachedTokens: 96, prefillMs: expect.any(Number) });
    expect(first.load()).toEqual({ running: 0, queued: 0, usedKvTokens: 0 });
  });

  it("is refused as a run is", async () => {
    const signal = new AbortController().signal;
    expect(await first.kv.exchange.prefill(request(prose("long", 800)), new Set(), signal)).toMatchObject({
      reason: "context_length_exceeded",
    });
    const grammar = { type: "json_schema" as const, schema: { type: "string", pattern: "(?<=x)" }, strict: true };
    const place = { tool: null, pointer: "#/pattern" };
    expect(await first.kv.exchange.prefill(request("a", { grammar }), new Set(), signal)).toMatchObject({ reason: "grammar", place });
    expect(await first.prepare(request("a", { grammar }))).toMatchObject({ reason: "grammar", place });
  });

  it("ends when cancelled, at any time, and leaves no sequence busy", async () => {
    const prompt = await kvPrompt(first, 900, "cancel");
    expect(await first.kv.exchange.prefill(kvRequest(prompt), new Set(), AbortSignal.abort())).toEqual({
      type: "failed",
      message: "cancelled",
    });
    for (const delayMs of [0, 1, 5, 10, 20, 40]) {
      const many = Array.from({ length: 6 }, () => first.kv.exchange.prefill(kvRequest(prompt), new Set(), AbortSignal.timeout(delayMs)));
      for (const outcome of await Promise.all(many)) {
        expect(["prefilled", "failed"]).toContain(outcome.type);
        if (outcome.type === "failed") expect(outcome.message).toBe("cancelled");
      }
      expect(first.load()).toEqual({ running: 0, queued: 0, usedKvTokens: 0 });
    }
  });

  it("fails when the engine dies, and export gives nothing while it is down", async () => {
    const doomed = await startDemo({ sequences: 1 });
    try {
      const restarted = new Promise<void>((resolve) => doomed.onRestart(resolve));
      // Frozen, so that it can't answer before it dies.
      process.kill(doomed.processId ?? 0, "SIGSTOP");
      const asked = doomed.kv.exchange.prefill(kvRequest(prose("dies", 150)), new Set(), new AbortController().signal);
      process.kill(doomed.processId ?? 0, "SIGKILL");
      expect(await asked).toMatchObject({ type: "failed" });
      expect(await doomed.kv.exchange.export(["00" as EngineKey])).toEqual([]);
      expect(await doomed.prepare(kvRequest("down"))).toMatchObject({ type: "refused", reason: "unavailable" });
      await restarted;
    } finally {
      await doomed.close();
    }
  });
});

describe("export", () => {
  it("gives what is held, in the order asked, also while the sequence decodes", async () => {
    const prompt = await kvPrompt(first, 100, "export");
    const asked = kvRequest(prompt, { maxTokens: 800, temperature: 1, logitBias: new Map([[2045, -100]]) });
    const idle = kvRequest(prompt, { salt: asked.salt });
    const run = await accepted(first, asked);
    const events = run.events[Symbol.asyncIterator]();
    await until(events, "delta");
    const { blockKeys } = await kvPrepare(first, idle);
    const order = [blockKeys[2], "gone", blockKeys[0], blockKeys[2]] as EngineKey[];
    const busy = await first.kv.exchange.export(order);
    expect(busy.map(({ key }) => key)).toEqual([blockKeys[2], blockKeys[0]]);
    run.abort();
    await until(events, "finished");
    expect(await first.kv.exchange.export(order)).toEqual(busy);
    expect(await first.kv.exchange.export([...Array.from({ length: 1_200 }, (_, i) => `x${i}` as EngineKey), ...order])).toEqual(busy);
  });
});
