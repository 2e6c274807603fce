import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EngineKey } from "../../gpu-backend/engine/engine.ts";
import type { LlamaEngine } from "../../gpu-backend/engine/llama-cpp/engine.ts";
import { accepted, complete, follow, prose, request, startDemo, talkativePrompts, until } from "./engine-runs.ts";

let engine: LlamaEngine;
/** Their answers are long enough to be caught under way. */
let talkative: string[];
const resident = new Set<EngineKey>();

beforeAll(async () => {
  engine = await startDemo();
  engine.kv.onResidency((changes) => {
    for (const { key, held } of changes) {
      expect(resident.has(key)).toBe(!held);
      if (held) resident.add(key);
      else resident.delete(key);
    }
  });
  talkative = await talkativePrompts(engine, 5, 300);
});
afterAll(() => engine.close());

const reusable = (promptTokens: number) => Math.floor((promptTokens - 2) / 32) * 32;

describe("tokens", () => {
  it("says where each token of the prompt ends, in bytes", async () => {
    const prompt = "<|im_start|>user\nGrüße, 你好 🙂!<|im_end|>\n";
    const { queued } = await complete(engine, prompt);
    expect(queued.tokenEnds).toHaveLength(queued.promptTokens);
    expect(queued.tokenEnds[0]).toBe("<|im_start|>".length);
    expect(queued.tokenEnds.at(-1)).toBe(Buffer.byteLength(prompt));
    expect([...queued.tokenEnds].toSorted((a, b) => a - b)).toEqual([...queued.tokenEnds]);
  });

  it("repeats itself for the same seed only", async () => {
    const say = async (seed: number) => (await complete(engine, "A seeded story", { temperature: 1, seed })).text;
    expect(await say(5)).toBe(await say(5));
    expect(await say(-1)).toBe(await say(-1));
    expect(await say(5)).not.toBe(await say(6));
  });

  it("runs a prompt of one token, and fits the output to the context", async () => {
    const one = await complete(engine, "a", { maxTokens: 1e9 });
    expect(one.finished.promptTokens).toBe(1);
    expect(one.finished.outputTokens).toBeLessThanOrEqual(1022);
  });
});

describe("prefix reuse", () => {
  it("gives the same answer warm and cold", async () => {
    const prompt = prose("reuse", 40);
    const cold = await complete(engine, prompt, { salt: "cold", maxTokens: 48 });
    const first = await complete(engine, prompt, { maxTokens: 48 });
    const warm = await complete(engine, prompt, { maxTokens: 48 });
    expect([cold.finished.cachedTokens, first.finished.cachedTokens]).toEqual([0, 0]);
    expect(warm.finished.cachedTokens).toBe(reusable(warm.finished.promptTokens));
    expect([first.text, warm.text]).toEqual([cold.text, cold.text]);
  });

  it("reuses whole blocks of the common part of a longer prompt, and nothing of another salt", async () => {
    const base = prose("extend", 30);
    const first = await complete(engine, base);
    const longer = await complete(engine, `${base} and then some more words follow here`);
    const shared = longer.queued.blockKeys.filter((key, i) => first.queued.blockKeys[i] === key).length;
    expect(shared).toBeGreaterThan(0);
    expect(longer.finished.cachedTokens).toBe(shared * 32);
    const salted = await complete(engine, base, { salt: "tenant" });
    expect(salted.finished.cachedTokens).toBe(0);
    expect(salted.queued.blockKeys.some((key) => first.queued.blockKeys.includes(key))).toBe(false);
  });

  it("copies a prefix from a sequence that is busy", async () => {
    const prompt = talkative[0] ?? "";
    const cold = await complete(engine, prompt, { salt: "cold" });
    const first = await accepted(engine, request(prompt, { maxTokens: 400 }));
    const events = first.events[Symbol.asyncIterator]();
    await until(events, "delta");
    const second = await complete(engine, prompt);
    expect(second.finished.cachedTokens).toBe(reusable(second.finished.promptTokens));
    expect(second.text).toBe(cold.text);
    first.abort();
    expect((await until(events, "finished")).reason).toBe("cancelled");
  });

  it("does not share what decode computed", async () => {
    const prompt = prose("decode", 20);
    const first = await complete(engine, prompt, { maxTokens: 100 });
    const next = await complete(engine, prompt + first.text);
    expect(next.finished.cachedTokens).toBeLessThanOrEqual(Math.floor(first.finished.promptTokens / 32) * 32);
  });
});

describe("residency", () => {
  it("reports evicted blocks, and then computes them again", async () => {
    const first = await complete(engine, prose("evict", 20));
    expect(first.queued.blockKeys.every((key) => resident.has(key))).toBe(true);
    for (const topic of ["river", "stone", "cloud"]) await complete(engine, prose(topic, 20));
    expect(first.queued.blockKeys.some((key) => resident.has(key))).toBe(false);
    expect((await complete(engine, prose("evict", 20))).finished.cachedTokens).toBe(0);
  });

  it("reports exactly what later runs find", async () => {
    const topics = ["north", "south", "east", "west"];
    for (let turn = 0; turn < 24; turn++) {
      const prompt = prose(topics[(turn * 7) % 4] ?? "", 10 + ((turn * 5) % 17)) + (turn % 3 === 0 ? " tail" : "");
      // Nothing runs now; after the submit its own blocks could be told already.
      const before = new Set(resident);
      const run = await accepted(engine, request(prompt, { maxTokens: 2 }));
      const { queued, finished } = await follow(run);
      const missing = queued.blockKeys.findIndex((key) => !before.has(key));
      const held = (missing < 0 ? queued.blockKeys.length : missing) * 32;
      expect(finished.cachedTokens).toBe(Math.min(held, reusable(queued.promptTokens)));
    }
  });

  it("serves many at once as it serves them one by one", async () => {
    const prompts = Array.from({ length: 5 }, (_, i) => prose("many", 20) + prose(`own${i}`, 20));
    const together = await Promise.all(prompts.map((prompt) => complete(engine, prompt, { maxTokens: 32 })));
    for (const [i, prompt] of prompts.entries()) {
      expect((await complete(engine, prompt, { salt: "alone", maxTokens: 32 })).text).toBe(together[i]?.text);
    }
  });
});

describe("one run's rights", () => {
  it("leaves a run alone whose consumer does not read, and goes on when it does", async () => {
    const asked = { maxTokens: 300, salt: "slow" };
    const [slowPrompt = "", quickPrompt = "", abandonedPrompt = ""] = talkative;
    const slow = await accepted(engine, request(slowPrompt, asked));
    const abandoned = await accepted(engine, request(abandonedPrompt, asked));
    expect((await complete(engine, quickPrompt, asked)).finished.outputTokens).toBe(300);
    abandoned.abort();
    const { deltas, finished } = await follow(abandoned);
    expect(finished.reason).toBe("cancelled");
    expect(deltas.length).toBeLessThanOrEqual(64);
    expect((await follow(slow)).text).toBe((await complete(engine, slowPrompt, asked)).text);
  });

  it("ends a long prefill within a step when cancelled", async () => {
    const run = await accepted(engine, request(prose("cancelled", 100), { maxTokens: 900 }));
    run.abort();
    expect((await follow(run)).finished).toMatchObject({ reason: "cancelled", outputTokens: 0 });
  });
});
