/** Byte strings against grammar and guard, so that nothing depends on what this processor's sums make the model say. */
import { tmpdir } from "node:os";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { boot } from "../../gpu-backend/engine/llama-cpp/boot.ts";
import type { LlamaEngine } from "../../gpu-backend/engine/llama-cpp/engine.ts";
import { RunSampler, type SamplerParts } from "../../gpu-backend/engine/llama-cpp/sampling.ts";
import { Utf8Guard } from "../../gpu-backend/engine/llama-cpp/utf8-guard.ts";
import { readVocabulary } from "../../gpu-backend/engine/llama-cpp/vocabulary.ts";
import { compileGrammar } from "../../gpu-backend/engine/llama-cpp/grammar/grammar.ts";
import { byteCharacters } from "../../gpu-backend/engine/byte-characters.ts";
import { ensureDemoModel } from "../../gpu-backend/engine/llama-cpp/demo-model/demo-model.ts";
import { complete, modelDirectory, request, startDemo } from "./engine-runs.ts";

/** Every lead byte, with second and third bytes at all ends of the ranges that UTF-8 knows. */
function* byteStrings(): Generator<number[]> {
  const edges = [0x00, 0x22, 0x41, 0x5c, 0x7f, 0x80, 0x81, 0x82, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xe0, 0xff];
  for (let lead = 0; lead < 256; lead++) {
    yield [lead];
    for (const second of edges) {
      yield [lead, second];
      if (lead >= 0xe0) for (const third of [0x41, 0x80, 0x82, 0xbf]) yield [lead, second, third];
      if (lead >= 0xf0) for (const third of [0x80, 0xbf]) for (const fourth of [0x41, 0x80, 0xbf]) yield [lead, second, third, fourth];
    }
  }
}

function decoded(bytes: readonly number[]): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes));
  } catch {
    return undefined;
  }
}

const wholeCharacters = (bytes: readonly number[]) => decoded(bytes) !== undefined;
/** What a schema of at least one code point and at most `most` UTF-16 units asks for. */
const isJsonText = (text: string | undefined, most: number) => {
  if (text === undefined) return false;
  const characters = Array.from(text);
  return characters.length >= 1 && text.length <= most && characters.every((one) => one >= " " && one !== "\u007f");
};

describe("the guard", () => {
  // One token a byte, one of two characters' halves, one with an overlong form inside, one of a bare zero.
  const merged = [
    [0x9f, 0x99, 0x82, 0x41],
    [0x41, 0xe0, 0x82, 0x80],
    [0x41, 0x00],
    [0x82, 0x80],
  ];
  const texts = [...byteCharacters, ...merged.map((bytes) => bytes.map((byte) => byteCharacters[byte] ?? "").join(""))];
  const guard = new Utf8Guard(
    readVocabulary(
      texts,
      texts.map(() => 1),
    ),
  );
  const takes = (tokens: readonly number[]) => {
    const state = guard.begin();
    return tokens.every((token) => {
      const barred = state.barred.includes(token);
      expect(state.accept(token)).toBe(!barred);
      return !barred;
    });
  };

  it("lets exactly the beginnings of valid UTF-8 through", () => {
    for (const bytes of byteStrings()) {
      // A beginning is valid if some continuation is.
      const endings = [[], [0x80], [0xbf], [0x80, 0x80], [0xbf, 0xbf], [0x80, 0x80, 0x80], [0xbf, 0xbf, 0xbf], [0x90, 0x80, 0x80]];
      const valid = !bytes.includes(0) && endings.some((ending) => wholeCharacters([...bytes, ...ending]));
      expect(takes(bytes), Buffer.from(bytes).toString("hex")).toBe(valid);
    }
  });

  it("looks inside tokens of several bytes", () => {
    const [halves = 0, overlong = 0, zero = 0, tail = 0] = merged.map((_, i) => 256 + i);
    expect(takes([0xf0, halves])).toBe(true);
    expect(takes([halves])).toBe(false);
    expect(takes([overlong])).toBe(false);
    expect(takes([zero])).toBe(false);
    expect(takes([0xe2, tail])).toBe(true);
    expect(takes([0xe0, tail])).toBe(false);
    expect(takes([0xf0, 0x9f, tail])).toBe(true);
    expect(takes([0xf0, tail])).toBe(false);
  });
});

describe("a string of one to two characters, byte by byte", () => {
  let parts: SamplerParts & { start: () => RunSampler };
  beforeAll(async () => {
    const modelPath = await ensureDemoModel(modelDirectory);
    const sizes = { sequences: 1, contextTokens: 256, blockTokens: 32, queueLimit: 1, prefillChunkTokens: 64 };
    const booted = await boot({ modelPath, scratchDirectory: tmpdir(), ...sizes });
    if (booted.type === "unavailable") throw new Error(booted.message);
    const { addon, vocabulary } = booted;
    const schema = { type: "string", minLength: 1, maxLength: 2 };
    const compiled = compileGrammar({ type: "json_schema", schema, strict: true }, "wide");
    if (compiled.type === "unsupported") throw new Error(compiled.message);
    const grammar = addon.makeGrammar(compiled.gbnf);
    const shared = { addon, vocabulary, utf8: new Utf8Guard(vocabulary), contextTokens: 256 };
    const { grammar: _, ...plain } = request("x");
    const asked = { ...plain, gbnf: compiled.gbnf };
    parts = { ...shared, start: () => new RunSampler(shared, asked, addon.makeGrammarState(grammar)) };
  });

  const matches = (bytes: readonly number[]) => {
    const sampler = parts.start();
    const taken = [0x22, ...bytes, 0x22].every((token) => sampler.accept(token));
    sampler.dispose();
    return taken;
  };

  it("is what UTF-8 and the schema both allow", () => {
    for (const bytes of byteStrings()) {
      // Escapes are the other test's: behind a backslash the closing quote is none.
      if (bytes.includes(0x5c) || bytes.includes(0x22)) continue;
      expect(matches(bytes), Buffer.from(bytes).toString("hex")).toBe(isJsonText(decoded(bytes), 2));
    }
  });

  it("is as long as clients say that count code points, and as those say that count UTF-16 units", () => {
    const lengthFits = (text: string) => matches([...Buffer.from(text)]);
    expect(["é", "你好", "🙂", "é\\n", "\\n\\n"].map(lengthFits)).toEqual([true, true, true, true, true]);
    expect(["", "abc", "你好吗", "a🙂", "🙂🙂", "\\n\\n\\n"].map(lengthFits)).toEqual([false, false, false, false, false, false]);
  });
});

describe("an answer", () => {
  let engine: LlamaEngine;
  beforeAll(async () => {
    engine = await startDemo();
  });
  afterAll(() => engine.close());

  // Bias, not the model, chooses: each byte string is what the sampler would like to say most.
  const pushes: [string, number[]][] = [
    ["an overlong form of three bytes", [0xe0, 0x82, 0x80]],
    ["an overlong form of four bytes", [0xf0, 0x82, 0x82, 0x80]],
    ["half a surrogate pair", [0xed, 0xa0, 0x80]],
    ["a number above the last code point", [0xf4, 0x90, 0x80, 0x80]],
    ["bytes that UTF-8 never has", [0xf7, 0xbf, 0xbf, 0xbf]],
    ["bytes of five", [0xf8, 0x88, 0x80, 0x80, 0x80]],
    ["continuations", [0x80, 0xbf]],
  ];
  for (const [what, bytes] of pushes) {
    it(`is text and of its length when pushed towards ${what}`, async () => {
      const logitBias = new Map(bytes.toReversed().map((byte, i) => [byte, 80 + 4 * i]));
      const schema = { type: "string", minLength: 3, maxLength: 5 };
      for (const temperature of [0, 1]) {
        const asked = { grammar: { type: "json_schema" as const, schema, strict: true }, logitBias, temperature, maxTokens: 60 };
        const { text, finished } = await complete(engine, "Pushed", asked);
        expect(finished.reason).toBe("stop");
        expect(text).not.toContain("\uFFFD");
        const value = JSON.parse(text) as string;
        expect(Array.from(value).length).toBeGreaterThanOrEqual(3);
        expect(value.length).toBeLessThanOrEqual(5);
      }
    });
  }
});
