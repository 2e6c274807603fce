import { getLlama, LlamaLogLevel } from "node-llama-cpp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Grammar } from "../../gpu-backend/engine/grammar.ts";
import type { LlamaEngine } from "../../gpu-backend/engine/llama-cpp/engine.ts";
import { compileGrammar } from "../../gpu-backend/engine/llama-cpp/grammar/grammar.ts";
import { complete, request, startDemo } from "./engine-runs.ts";
import { schemas, valid } from "./grammar-schemas.ts";
import { tokensOf } from "../conformance/engine-runs.ts";

/** A few seeds find a grammar that is wrong for most answers; all of them with WARMPATH_FULL=1. */
const full = process.env["WARMPATH_FULL"] === "1";
const SEEDS = full ? 20 : 8;

let engine: LlamaEngine;
beforeAll(async () => {
  engine = await startDemo({ contextTokens: 2048, grammarLimits: "short" });
});
afterAll(() => engine.close());

const tools = [
  {
    name: "get_weather",
    parameters: {
      type: "object",
      properties: { city: { type: "string" }, days: { type: "integer", minimum: 1, maximum: 14 } },
      required: ["city"],
    },
    strict: false,
  },
  { name: "stop", parameters: undefined, strict: false },
];

async function answer(grammar: Grammar, seed: number, temperature = 1): Promise<string> {
  const { text, finished } = await complete(engine, `Answer number ${seed}:`, { grammar, seed, temperature, maxTokens: 1500 });
  expect(finished).toMatchObject({ reason: "stop" });
  return text;
}

describe("a JSON schema", () => {
  for (const [name, schema] of Object.entries(schemas)) {
    it(`is kept to: ${name}`, async () => {
      for (let seed = 0; seed < (full ? 8 : 3); seed++) {
        const text = await answer({ type: "json_schema", schema, strict: true }, seed, seed === 0 ? 0 : 1);
        const value: unknown = JSON.parse(text);
        expect(valid(value, schema), text).toBe(true);
        expect(text).not.toMatch(/^\s|\s$/);
      }
    });
  }

  it("gives different answers for different seeds, the same for the same", async () => {
    const grammar: Grammar = { type: "json_schema", schema: schemas["flat"], strict: true };
    expect(await answer(grammar, 3)).toBe(await answer(grammar, 3));
    expect(await answer(grammar, 3)).not.toBe(await answer(grammar, 4));
  });

  it("ends at the first token when nothing else is allowed", async () => {
    expect(await answer({ type: "json_schema", schema: { const: "" }, strict: true }, 1)).toBe('""');
  });

  it("is kept to even where the bias bars every way on", async () => {
    const logitBias = new Map(Array.from({ length: 2048 }, (_, token) => [token, -100]));
    const asked = { grammar: { type: "json_schema" as const, schema: { const: [true] }, strict: true }, logitBias, maxTokens: 50 };
    expect((await complete(engine, "barred", asked)).text).toBe("[true]");
  });
});

it("any JSON object", async () => {
  for (let seed = 0; seed < SEEDS; seed++) {
    const value: unknown = JSON.parse(await answer({ type: "json_object" }, seed));
    expect(valid(value, { type: "object" })).toBe(true);
  }
});

describe("tool calls", () => {
  const call = /^<tool_call>(.*)<\/tool_call>$/;
  const check = (line: string) => {
    const { name, arguments: given } = JSON.parse(call.exec(line)?.[1] ?? "") as { name: string; arguments: unknown };
    const tool = tools.find((candidate) => candidate.name === name);
    expect(valid(given, tool?.parameters ?? { type: "object", additionalProperties: false })).toBe(true);
    return name;
  };

  it("are one or more, of tools that exist", async () => {
    const seen = new Set<string>();
    let several = 0;
    for (let seed = 0; seed < SEEDS; seed++) {
      const lines = (await answer({ type: "tool_calls", tools, parallel: true, otherwise: null }, seed)).split("\n");
      if (lines.length > 1) several++;
      for (const line of lines) seen.add(check(line));
    }
    expect(several).toBeGreaterThan(0);
    expect(seen).toEqual(new Set(["get_weather", "stop"]));
  });

  it("are one if not parallel", async () => {
    for (let seed = 0; seed < 5; seed++) check(await answer({ type: "tool_calls", tools, parallel: false, otherwise: null }, seed));
  });

  it("may use the vocabulary's own token for the tag", async () => {
    const grammar: Grammar = { type: "tool_calls", tools, parallel: false, otherwise: null };
    const plain = await complete(engine, "tag", { grammar, maxTokens: 200, logprobs: 0 });
    const opening = await tokensOf(engine, "<tool_call>");
    expect(opening).toBe(1);
    const token = 2048 - 2;
    const forced = await complete(engine, "tag", { grammar, maxTokens: 200, logprobs: 0, logitBias: new Map([[token, 100]]) });
    expect(forced.logprobs[0]?.token).toBe("<tool_call>");
    check(forced.text);
    check(plain.text);
  });
});

describe("what cannot be made is refused, with its place", () => {
  const refusals: [unknown, string][] = [
    [
      { type: "object", properties: { a: { type: "string", pattern: "(a)\\1" } } },
      "#/properties/a/pattern: back references are not supported in a pattern",
    ],
    [{ type: "array", items: { not: {} } }, "#/items/not: this keyword is not supported"],
    [{ type: "array", uniqueItems: true }, "#/uniqueItems: this keyword is not supported"],
    [{ allOf: [{ pattern: "a" }, { pattern: "b" }] }, "#/pattern: not supported beside another of the same name"],
    [{ type: "integer", enum: [1, 2], minimum: 2 }, "#/minimum: not supported beside enum"],
    [{ type: "number", multipleOf: 0.3 }, "#/multipleOf: only whole numbers are supported"],
    [{ properties: { n: { type: "integer", minimum: 5, maximum: 2 } } }, "#/properties/n: minimum is above maximum"],
    [{ items: { type: "string", minLength: 5, maxLength: 2 } }, "#/items: minLength is above maxLength"],
    [{ type: "array", minItems: 5, maxItems: 2 }, "#: minItems is above maxItems"],
    [{ $ref: "https://example.com/x" }, '#/$ref: "https://example.com/x" names nothing in this schema'],
    [
      { $ref: "#/$defs/a", $defs: { a: { type: "object", properties: { b: { if: {} } } } } },
      "#/$defs/a/properties/b/if: this keyword is not supported",
    ],
    [{ type: "text" }, '#/type: "text" is no type'],
    [{ type: "string", minLength: -1 }, "#/minLength: must be a whole number"],
    [{ type: "string", minLength: 5000 }, "#/minLength: more than 1024 is not supported"],
    [{ $ref: "#/$defs/a", $defs: { a: { $ref: "#/$defs/a" } } }, "#: no value of bounded size can match the schema"],
    [{ type: "object", properties: { a: false }, required: ["a"] }, "#: no value of bounded size can match the schema"],
    ["text", "#: must be a schema"],
    [{ enum: ["x".repeat(300_000)] }, "the schema is too large: it has more than 262144 characters"],
    [JSON.parse('{"items":'.repeat(100) + "{}" + "}".repeat(100)), `#${"/items".repeat(65)}: nested too deep`],
  ];
  for (const [schema, message] of refusals) {
    it(message.slice(0, 80), () => {
      for (const limits of ["wide", "short"] as const)
        expect(compileGrammar({ type: "json_schema", schema, strict: true }, limits)).toMatchObject({ type: "unsupported", message });
    });
  }

  it("also by the engine, and for a tool by its name", async () => {
    const find = { name: "find", parameters: { patternProperties: {}, properties: {} }, strict: true };
    const grammar: Grammar = { type: "tool_calls", tools: [find], parallel: true, otherwise: null };
    expect(await engine.run(request("x", { grammar }))).toEqual({
      type: "refused",
      reason: "grammar",
      message: "parameters of the tool find: #/patternProperties: this keyword is not supported",
      place: { tool: 0, pointer: "#/patternProperties" },
    });
  });
});

describe("for a model that ends by itself", () => {
  it("nothing open is held short", () => {
    const grammar: Grammar = { type: "json_schema", schema: { type: "string" }, strict: true };
    expect(compileGrammar(grammar, "wide")).toMatchObject({ type: "compiled", longest: Infinity });
    expect(compileGrammar(grammar, "short")).toMatchObject({ type: "compiled", longest: 130 });
  });

  it("llama.cpp reads every grammar, and it matches what it should", async () => {
    const llama = await getLlama({ gpu: false, build: "never", skipDownload: true, progressLogs: false, logLevel: LlamaLogLevel.error });
    const { AddonGrammar } = Reflect.get(llama, "_bindings") as {
      AddonGrammar: new (gbnf: string) => { isTextCompatible(text: string): boolean };
    };
    const made = (grammar: Grammar) => {
      const compiled = compileGrammar(grammar, "wide");
      if (compiled.type === "unsupported") throw new Error(compiled.message);
      return new AddonGrammar(compiled.gbnf);
    };
    for (const schema of Object.values(schemas)) made({ type: "json_schema", schema, strict: true });
    const matches = (name: string, text: string) =>
      made({ type: "json_schema", schema: schemas[name], strict: true }).isTextCompatible(text);
    const long = JSON.stringify({ name: 'é🙂\n"'.repeat(2000), age: -12, ok: true });
    expect(matches("flat", long)).toBe(true);
    expect(matches("flat", '{"name":"x","age":01,"ok":true}')).toBe(false);
    expect(matches("flat", '{"name":"x", "age":1,"ok":true}')).toBe(false);
    expect(matches("flat", '{"name":"x","ok":true}')).toBe(false);
    expect(matches("optional", '{"a":null,"c":5}')).toBe(true);
    expect(matches("optional", '{"c":5}')).toBe(true);
    expect(matches("optional", '{,"c":5}')).toBe(false);
    const integers = made({ type: "json_schema", schema: schemas["integer range"], strict: true });
    for (let value = -30; value < 1300; value++) {
      expect(integers.isTextCompatible(`[0,0,0,${value}]`)).toBe(value >= -17 && value <= 1203);
    }
    const tree = '{"value":"a","children":[{"value":"b","children":[{"value":"c","children":[]}]}]}';
    expect(matches("tree", tree)).toBe(true);
    const object = made({ type: "json_object" });
    expect(object.isTextCompatible(JSON.stringify({ a: [1.5e-7, { b: [[]] }, null], "": {} }))).toBe(false);
    expect(object.isTextCompatible(JSON.stringify({ a: [1.5e-7, { b: [[]] }, null], c: {} }))).toBe(true);
  });
});
