/** Numbers, merged schemas, and what can't be held, against llama.cpp's own reading of the grammar. */
import { describe, expect, it } from "vitest";
import { compileGrammar } from "../../gpu-backend/engine/llama-cpp/grammar/grammar.ts";
import { grammarJudges } from "./grammar-made.ts";

const { made, answers } = grammarJudges();

describe("numbers", () => {
  const takes = (schema: object, value: number) => made(schema).isTextCompatible(JSON.stringify(value));

  it("are multiples, between bounds and without", () => {
    const schemas = [
      { multipleOf: 7, minimum: -700, maximum: 7_000 },
      { multipleOf: 60 },
      { multipleOf: 100, minimum: -12_345, maximum: 1_000_000 },
      { multipleOf: 3, minimum: 10, maximum: 20 },
      { multipleOf: 2, exclusiveMinimum: 4 },
    ];
    for (const rules of schemas) {
      const { multipleOf, minimum = -Infinity, maximum = Infinity, exclusiveMinimum = -Infinity } = rules as Record<string, number>;
      const grammar = made({ type: "integer", ...rules });
      for (let value = -800; value <= 8_000; value += 1) {
        const valid = value % (multipleOf ?? 1) === 0 && value >= minimum && value <= maximum && value > exclusiveMinimum;
        expect(grammar.isTextCompatible(String(value)), `${value} of ${JSON.stringify(rules)}`).toBe(valid);
      }
    }
  });

  it("of a step of 1 are whole", () => {
    expect([1, 2.5].map((value) => takes({ type: "number", multipleOf: 1, minimum: 0, maximum: 9 }, value))).toEqual([true, false]);
    expect(takes({ type: "number", multipleOf: 1 }, 12)).toBe(true);
    expect(takes({ type: "integer", multipleOf: 0.5 }, 3)).toBe(true);
  });

  it("of a step too large to count are some of the multiples", async () => {
    for (const value of await answers({ type: "integer", multipleOf: 8_191, minimum: 1 }, 3)) expect(Number(value) % 8_191).toBe(0);
  });

  it("are cut to what a double holds", () => {
    const wide = { type: "integer", minimum: -(2 ** 53) - 2, maximum: 2 ** 63 };
    expect(takes(wide, Number.MAX_SAFE_INTEGER)).toBe(true);
    expect(takes(wide, Number.MIN_SAFE_INTEGER)).toBe(true);
    expect(made(wide).isTextCompatible("9007199254740993")).toBe(false);
    expect(takes({ type: "number", maximum: 1e300, minimum: 0 }, 1.5)).toBe(true);
  });

  it("between bounds with no whole number have the digits it takes", () => {
    const schema = { type: "number", minimum: 0.25, exclusiveMaximum: 0.3 };
    for (let value = 0; value <= 100; value += 1)
      expect(made(schema).isTextCompatible(`0.${String(value).padStart(2, "0")}`)).toBe(value >= 25 && value < 30);
    expect(takes({ type: "number", minimum: -1.75, maximum: -1.5 }, -1.6)).toBe(true);
    expect(takes({ type: "number", minimum: -1.75, maximum: -1.5 }, -1.4)).toBe(false);
  });
});

describe("schemas together", () => {
  const match = (schema: object, value: unknown) => made(schema).isTextCompatible(JSON.stringify(value));

  it("all of several are one", () => {
    const schema = {
      allOf: [
        { $ref: "#/$defs/base" },
        { type: "object", properties: { size: { type: "integer", maximum: 9 } }, required: ["size"] },
        { properties: { size: { minimum: 3 } } },
      ],
      $defs: { base: { type: "object", properties: { id: { type: "string" } }, required: ["id"] } },
    };
    expect(match(schema, { id: "a", size: 5 })).toBe(true);
    expect(match(schema, { id: "a", size: 2 })).toBe(false);
    expect(match(schema, { size: 5 })).toBe(false);
  });

  it("what stands beside anyOf and $ref holds for each", () => {
    const either = {
      type: "object",
      properties: { a: { type: "integer" }, b: { type: "integer" } },
      anyOf: [{ required: ["a"] }, { required: ["b"] }],
    };
    expect([{ a: 1 }, { b: 1 }, { a: 1, b: 2 }, {}].map((value) => match(either, value))).toEqual([true, true, true, false]);
    const ref = { $ref: "#/$defs/n", maximum: 5, $defs: { n: { type: "integer", minimum: 3 } } };
    expect([2, 3, 5, 6].map((value) => match(ref, value))).toEqual([false, true, true, false]);
  });
});

describe("what can't be held", () => {
  const tool = {
    type: "object",
    properties: {
      path: { type: "string", pattern: "^/" },
      mode: { enum: ["r", "w"] },
      note: { type: "string", pattern: "(?<!a)b", maxLength: 3 },
      list: { type: "array", items: { type: "integer" }, uniqueItems: true, maxItems: 2 },
    },
    required: ["path", "mode", "note", "list"],
    patternProperties: { "^x-": {} },
    not: { required: ["gone"] },
    $comment: "as MCP servers send them",
  };

  it("is left out alone where not strict: keys, enums and all else stay", async () => {
    for (const value of await answers(tool, 6, false)) {
      const { path, mode, note, list } = value as { path: string; mode: string; note: string; list: unknown[] };
      expect(path.startsWith("/")).toBe(true);
      expect(["r", "w"]).toContain(mode);
      expect(note.length).toBeLessThanOrEqual(3);
      expect(list.length).toBeLessThanOrEqual(2);
    }
  });

  it("is refused with its place where strict", () => {
    const place = (schema: unknown) => compileGrammar({ type: "json_schema", schema, strict: true }, "wide");
    const { patternProperties: _, not: __, ...rest } = tool;
    expect(place(tool)).toMatchObject({ place: { tool: null, pointer: "#/patternProperties" } });
    expect(place(rest)).toMatchObject({ place: { pointer: "#/properties/note/pattern" } });
  });

  it("is refused always where the schema says nothing that is one", () => {
    for (const schema of [{ type: "nonsense" }, { properties: { n: { type: "integer", minimum: 5, maximum: 2 } } }, { enum: [] }]) {
      expect(compileGrammar({ type: "json_schema", schema, strict: false }, "short")).toMatchObject({ type: "unsupported" });
    }
  });
});
