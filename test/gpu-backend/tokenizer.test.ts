import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { LlamaEngine } from "../../gpu-backend/engine/llama-cpp/engine.ts";
import { Tokenizer } from "../../gpu-backend/engine/llama-cpp/tokenizer.ts";
import { Turns } from "../../gpu-backend/engine/llama-cpp/turns.ts";
import { request, startDemo } from "./engine-runs.ts";

const MARK = "<|im_start|>";
const LONG = 400_000;

/** A model whose tokens are single characters and which takes a ms for a thousand; what else is due on its thread runs in between. */
class SlowModel {
  readonly slices: string[] = [];
  nowMs = 0;
  /** What happened, in order. */
  readonly log: string[] = [];
  #due: (() => void)[] = [];
  readonly tokenizer = new Tokenizer(
    this,
    [MARK],
    new Turns(
      () => this.nowMs,
      (run) => void this.#due.push(run),
    ),
  );

  tokenize(text: string): Uint32Array {
    this.slices.push(text);
    this.log.push(text[0] ?? "");
    this.nowMs += text.length / 1_000;
    return Uint32Array.from(text, (character) => character.codePointAt(0) ?? 0);
  }

  /** Runs what is due, a step of the engine before each, until nothing is. */
  async run(): Promise<void> {
    for (let due = this.#due.shift(); due !== undefined; due = this.#due.shift()) {
      this.log.push("step");
      due();
      // Whoever was woken works until it waits again.
      for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
    }
  }
}

describe("a long prompt", () => {
  it.each([
    ["words", "word "],
    ["one word", "abcdefgh"],
    ["white space", " "],
    ["characters of two units", "\u{1f600}"],
    ["marks", MARK],
  ])("of %s is tokenized in slices that are bounded, together the whole, and part neither a mark nor a character", async (_name, unit) => {
    const model = new SlowModel();
    const prompt = unit.repeat(LONG / unit.length);
    const working = model.tokenizer.tokens(prompt);
    await model.run();
    const tokenized = await working;
    expect(model.slices.join("")).toBe(prompt);
    expect(Math.max(...model.slices.map(({ length }) => length))).toBeLessThanOrEqual(32_768);
    expect(tokenized.type === "tokens" && tokenized.tokens.length).toBe(Array.from(prompt).length);
    if (unit === MARK) for (const slice of model.slices) expect(slice.length % MARK.length).toBe(0);
  });

  it("leaves the thread after every slice that took its time, and two of them take turns", async () => {
    const model = new SlowModel();
    const both = Promise.all([model.tokenizer.tokens("a".repeat(LONG)), model.tokenizer.tokens("b".repeat(LONG))]);
    await model.run();
    await both;
    // A slice a step: whoever waits for a step waits for one slice.
    expect(model.log.join(" ")).toMatch(/^a b (?:step a step b )*step a step b$/);
  });

  it("is not read to its end when it has more tokens than are wanted", async () => {
    const model = new SlowModel();
    const working = model.tokenizer.tokens("word ".repeat(LONG), [], 50_000);
    await model.run();
    expect(await working).toMatchObject({ type: "too_many" });
    expect(model.slices.join("").length).toBeLessThan(100_000);
  });

  it("is cut the same where it begins the same, whatever follows", async () => {
    const cutsOf = async (prompt: string): Promise<number[]> => {
      const model = new SlowModel();
      const working = model.tokenizer.tokens(prompt);
      await model.run();
      await working;
      return model.slices.map(({ length }) => length);
    };
    const one = await cutsOf("x".repeat(100_000));
    expect((await cutsOf(`${"x".repeat(100_000)} and more words of a next turn`.repeat(2))).slice(0, 3)).toEqual(one.slice(0, 3));
  });
});

describe("the engine", () => {
  let engine: LlamaEngine;
  beforeAll(async () => {
    engine = await startDemo({ contextTokens: 32_768, sequences: 1 });
  });
  afterAll(() => engine?.close());

  it("makes the same tokens in slices as word by word", async () => {
    const words = Array.from({ length: 12_000 }, (_, n) => ["the", "old", "harbour", "of"][n % 4] ?? "");
    const prompt = words.join(" ");
    const cuts = words.slice(0, -1).map(
      (
        (at) => (word: string) =>
          (at += word.length + 1) - 1
      )(0),
    );
    const [sliced, byWord] = [await engine.prepare(request(prompt)), await engine.prepare(request(prompt, { cuts }))];
    if (sliced.type === "refused" || byWord.type === "refused") throw new Error("refused");
    expect(sliced.tokens).toEqual(byWord.tokens);
  });

  it("says of a prompt that is far too long how far it has counted, and of another its tokens", async () => {
    expect(await engine.prepare(request("word ".repeat(40_000)))).toMatchObject({ exact: true, promptTokens: 40_002 });
    expect(await engine.prepare(request("word ".repeat(1_000_000)))).toMatchObject({ reason: "context_length_exceeded", exact: false });
  });

  it("runs what has come in while it tokenizes, and a request cancelled meanwhile never runs", async () => {
    const asked = request("word ".repeat(30_000), { maxTokens: 1 });
    const long = engine.run(asked);
    const order: string[] = [];
    const short = await engine.run(request("Hello", { maxTokens: 1 }));
    if (short.type !== "accepted") throw new Error(short.message);
    for await (const { type } of short.events) if (type === "finished") order.push("short");
    const run = await long;
    if (run.type !== "accepted") throw new Error(run.message);
    order.push("long");
    run.abort();
    for await (const event of run.events) if (event.type === "finished") expect(event.reason).toBe("cancelled");
    expect(order).toEqual(["short", "long"]);
  });
});
