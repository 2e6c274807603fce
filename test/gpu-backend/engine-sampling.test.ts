import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { LlamaEngine } from "../../gpu-backend/engine/llama-cpp/engine.ts";
import type { TokenLogprob } from "../../gpu-backend/engine/engine.ts";
import { accepted, complete, prose, request, startDemo } from "./engine-runs.ts";
import { tokensOf } from "../conformance/engine-runs.ts";

let engine: LlamaEngine;
beforeAll(async () => {
  engine = await startDemo();
});
afterAll(() => engine.close());

const textOf = (logprobs: readonly TokenLogprob[]) => Buffer.from(logprobs.flatMap((entry) => [...entry.bytes])).toString("utf8");
const closed = (text: string) => text.replaceAll("\uFFFD", "");

it("counts the tokens of a prompt", async () => {
  const prompt = `<|im_start|>${prose("count", 30)} 你好<|im_end|>`;
  const { queued } = await complete(engine, prompt, { maxTokens: 1 });
  expect(await tokensOf(engine, prompt)).toBe(queued.promptTokens);
  expect(await tokensOf(engine, "")).toBe(0);
});

it("gives an answer the limits of a trained model, unless others are asked for", async () => {
  const grammar = { type: "json_schema" as const, schema: { type: "string" }, strict: true };
  const answers = await Promise.all(
    [1, 2, 3].map((seed) => complete(engine, "Say it", { salt: `limits ${seed}`, grammar, seed, temperature: 1, maxTokens: 120 })),
  );
  // The short limits end a string after 128 characters and its quotes.
  expect(Math.max(...answers.map(({ text }) => text.length))).toBeGreaterThan(130);
});

describe("logprobs", () => {
  it("are those of the model: sorted, the choice among them, no more than one in all", async () => {
    const { logprobs, finished } = await complete(engine, "Tell me a long story", {
      maxTokens: 60,
      temperature: 1.5,
      seed: 3,
      logprobs: 5,
    });
    expect(logprobs.length).toBeGreaterThan(10);
    expect(finished.outputTokens - logprobs.length).toBeLessThanOrEqual(1);
    for (const { token, bytes, logprob, top } of logprobs) {
      expect(top).toHaveLength(5);
      expect(top.map((entry) => entry.logprob)).toEqual(top.map((entry) => entry.logprob).toSorted((a, b) => b - a));
      expect(top.reduce((sum, entry) => sum + Math.exp(entry.logprob), 0)).toBeLessThanOrEqual(1.0001);
      expect(logprob).toBeLessThanOrEqual(top[0]?.logprob ?? 0);
      const own = top.find((entry) => entry.token === token && entry.bytes.length === bytes.length);
      if (own !== undefined) expect(own.logprob).toBe(logprob);
    }
  });

  it("name the largest first when the choice is greedy", async () => {
    const { logprobs } = await complete(engine, "Greedy", { maxTokens: 30, logprobs: 3 });
    for (const entry of logprobs) expect(entry.top[0]).toEqual({ token: entry.token, bytes: entry.bytes, logprob: entry.logprob });
  });

  it("do not change the text, nor with how many alternatives they come", async () => {
    const asked = { maxTokens: 60, temperature: 1, seed: 11 };
    const plain = await complete(engine, "Same seed", asked);
    const none = await complete(engine, "Same seed", { ...asked, logprobs: 0 });
    const many = await complete(engine, "Same seed", { ...asked, logprobs: 20 });
    expect([none.text, many.text]).toEqual([plain.text, plain.text]);
    expect(plain.logprobs).toEqual([]);
    for (const [i, entry] of none.logprobs.entries()) {
      expect(entry.top).toEqual([]);
      expect(entry.logprob).toBeCloseTo(many.logprobs[i]?.logprob ?? 0, 3);
    }
  });

  it("stay those of the model under bias, penalties, temperature and grammar", async () => {
    const plain = await complete(engine, "Unmodified", { maxTokens: 1, logprobs: 20 });
    const logitBias = new Map([[65, 100]]);
    const changes = { temperature: 2, topP: 0.5, presencePenalty: 2, logitBias, grammar: { type: "json_object" as const } };
    const bent = await complete(engine, "Unmodified", { maxTokens: 1, logprobs: 20, ...changes });
    expect(bent.logprobs[0]?.top).toEqual(plain.logprobs[0]?.top);
  });

  it("come with the text they complete, also characters of several tokens", async () => {
    // Bytes of é and 🙂 alone, so that every character takes several tokens or is broken.
    const logitBias = new Map([0xc3, 0xa9, 0xf0, 0x9f, 0x99, 0x82].map((byte) => [byte, 40]));
    for (const [seed, bias] of [
      [1, logitBias],
      [2, logitBias],
      [3, new Map()],
    ] as const) {
      const run = await accepted(engine, request("Aligned", { maxTokens: 80, temperature: 1, seed, logprobs: 1, logitBias: bias }));
      let [text, told] = ["", ""];
      const all: TokenLogprob[] = [];
      for await (const event of run.events) {
        if (event.type !== "delta") continue;
        text += event.text;
        all.push(...(event.logprobs ?? []));
        told = textOf(all);
        expect(text.startsWith(told) || closed(text).startsWith(closed(told))).toBe(true);
      }
      expect(told).toBe(text);
    }
  });

  it("cover a text that a stop string cut", async () => {
    const plain = await complete(engine, "Tell me a long story", { maxTokens: 40 });
    const stop = `${plain.deltas[5]?.slice(-2) ?? ""}${plain.deltas[6]?.slice(0, 2) ?? ""}`;
    const cut = await complete(engine, "Tell me a long story", { maxTokens: 40, stop: ["never", stop], logprobs: 1 });
    expect(cut.finished.stopText).toBe(stop);
    expect(textOf(cut.logprobs).startsWith(cut.text)).toBe(true);
    expect(textOf(cut.logprobs.slice(0, -1)).length).toBeLessThan(cut.text.length);
    expect(plain.finished.stopText).toBeNull();
  });
});

describe("logit bias", () => {
  it("forces and bars a token", async () => {
    const forced = await complete(engine, "Biased", { maxTokens: 8, temperature: 1, logitBias: new Map([[65, 100]]) });
    expect(forced.text).toBe(forced.text[0]?.repeat(8));
    const greedy = await complete(engine, "Biased", { maxTokens: 1, logprobs: 20 });
    const all = new Map(Array.from({ length: 2048 }, (_, token) => [token, token === 65 || token === 66 ? 0 : -100]));
    const two = await complete(engine, "Biased", { maxTokens: 30, temperature: 1, logitBias: all });
    expect(new Set(two.text).size).toBeLessThanOrEqual(2);
    expect(greedy.logprobs).toHaveLength(1);
  });

  it("is in logits: half the gap changes nothing, more than the gap turns the choice", async () => {
    const { logprobs } = await complete(engine, "Logits", { maxTokens: 1, logprobs: 2 });
    const [first, second] = logprobs[0]?.top ?? [];
    if (first === undefined || second === undefined) throw new Error("no alternatives");
    const gap = first.logprob - second.logprob;
    const found: string[] = [];
    for (let token = 0; token < 2048 && found.length < 1; token++) {
      const turned = await complete(engine, "Logits", { maxTokens: 1, logprobs: 0, logitBias: new Map([[token, gap * 1.01 + 1e-3]]) });
      if (turned.logprobs[0]?.token !== second.token) continue;
      found.push(second.token);
      const kept = await complete(engine, "Logits", { maxTokens: 1, logprobs: 0, logitBias: new Map([[token, gap / 2]]) });
      expect(kept.logprobs[0]?.token).toBe(first.token);
    }
    expect(found).toEqual([second.token]);
  });

  it("ignores tokens that do not exist", async () => {
    const plain = await complete(engine, "Unknown");
    expect(
      (
        await complete(engine, "Unknown", {
          logitBias: new Map([
            [999_999, 100],
            [-1, 100],
            [1.5, 100],
          ]),
        })
      ).text,
    ).toBe(plain.text);
  });
});

describe("penalties", () => {
  /** How often each of two tokens came, of which the second begins 50 logits ahead of the first, and both far ahead of the rest. */
  async function counts(changes: object, prompt = "Penalties"): Promise<number[]> {
    const logitBias = new Map([
      [65, 200],
      [66, 250],
    ]);
    const { logprobs } = await complete(engine, prompt, { maxTokens: 60, logprobs: 0, logitBias, ...changes });
    const ids = new Map<string, number>();
    for (const { token } of logprobs) ids.set(token, (ids.get(token) ?? 0) + 1);
    return [...ids.values()];
  }

  it("grow with every repetition, or come once", async () => {
    expect(await counts({})).toEqual([60]);
    expect(await counts({ presencePenalty: 2 })).toEqual([60]);
    const [ahead = 0, behind = 0] = await counts({ frequencyPenalty: 2 });
    // 2 logits a repetition: 25 more of the one that was ahead by 50, give or take what the model itself thinks.
    expect(ahead + behind).toBe(60);
    expect(Math.abs(ahead - behind - 25)).toBeLessThanOrEqual(6);
    expect(await counts({ frequencyPenalty: -2 })).toEqual([60]);
  });

  it("are over the output alone", async () => {
    const plain = await complete(engine, "Penalties", { maxTokens: 1 });
    const repeated = (plain.text + " ").repeat(20);
    const [free, penalized] = await Promise.all(
      [{}, { presencePenalty: 2, frequencyPenalty: 2 }].map((changes) => complete(engine, repeated, { maxTokens: 1, ...changes })),
    );
    expect(penalized?.text).toBe(free?.text);
  });
});
