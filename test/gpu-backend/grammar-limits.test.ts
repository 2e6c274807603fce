/** What a schema may cost: counted, not timed. `npm run fuzz:grammar` has the clock. */
import { readdirSync, readFileSync } from "node:fs";
import { getPriority } from "node:os";
import { expect, test } from "vitest";
import { compileGrammar, type CompiledGrammar } from "../../gpu-backend/engine/llama-cpp/grammar/grammar.ts";
import { oneOfTexts, nothing } from "../../gpu-backend/engine/llama-cpp/grammar/rules.ts";
import { GrammarCompiler } from "../../gpu-backend/engine/llama-cpp/grammar-compiler.ts";
import { hardSchemas } from "../bench/grammar/schemas.ts";
import { grammarMaker } from "./grammar-made.ts";

const compiled = (schema: unknown): CompiledGrammar => compileGrammar({ type: "json_schema", schema, strict: true }, "wide");
const range = <T>(count: number, make: (index: number) => T): T[] => Array.from({ length: count }, (_, index) => make(index));

test("a large enum leaves llama.cpp one way to go for each next character", async () => {
  const values = range(10_000, (i) => `v${i}`);
  const tree = oneOfTexts(values.map((value) => [JSON.stringify(value), nothing] as const));
  expect(tree.ways).toBeLessThanOrEqual(11);
  const grammar = (await grammarMaker())({ enum: values });
  for (const value of ["v0", "v77", "v9999"]) expect(grammar.isTextCompatible(JSON.stringify(value))).toBe(true);
  for (const value of ["v10000", "v", "v00", ""]) expect(grammar.isTextCompatible(JSON.stringify(value))).toBe(false);
});

test("a grammar grows with an enum, not with its square", () => {
  const size = (count: number) => {
    const made = compiled({ enum: range(count, (i) => `v${i}`) });
    return made.type === "compiled" ? made.gbnf.length : 0;
  };
  expect(size(8_000)).toBeLessThan(size(2_000) * 6);
});

test("what costs too much is refused with the limit", () => {
  const message = (schema: unknown) => {
    const made = compiled(schema);
    return made.type === "unsupported" ? made.message : "";
  };
  expect(message({ enum: range(2_000, (i) => String.fromCodePoint(0x4e00 + i)) })).toMatch(/more than 512 alternatives/);
  expect(message({ anyOf: range(700, (i) => ({ properties: { a: { const: i } }, required: ["a"] })) })).toMatch(
    /more than 512 alternatives/,
  );
  expect(message({ type: "string", pattern: "^(a|b)*a(a|b){40}$" })).toMatch(/#\/pattern: too complex/);
  expect(message({ enum: ["x".repeat(300_000)] })).toMatch(/more than 262144 characters/);
  for (const [name, schema] of Object.entries(hardSchemas)) {
    const made = compiled(schema);
    expect(made.type === "compiled" || made.message.length > 0, name).toBe(true);
    if (made.type === "compiled") expect(made.gbnf.length, name).toBeLessThan(1_000_000);
  }
});

test.runIf(process.platform === "linux")("a thread that compiles grammars gives way to the engine's", async () => {
  // The 19th field of proc(5)'s stat; the second is a name in parentheses.
  const nicenessOf = (task: string): number => {
    const stat = readFileSync(`/proc/self/task/${task}/stat`, "utf8");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[16]);
  };
  const compiler = new GrammarCompiler("short");
  await compiler.compile({ type: "json_schema", schema: { type: "integer" }, strict: true });
  const levels = readdirSync("/proc/self/task").map(nicenessOf);
  await compiler.close();
  expect(levels.filter((level) => level > getPriority())).toHaveLength(1);
});

test("grammars are compiled in threads beside, the same for the same, refusals too", async () => {
  const compiler = new GrammarCompiler("short");
  const ask = (schema: unknown) => compiler.compile({ type: "json_schema", schema, strict: true });
  const slow = ask(hardSchemas["a repetition of repetitions"]);
  let turns = 0;
  let isOver = false;
  const ticking = (async () => {
    for (; !isOver; turns += 1) await new Promise((resolve) => setImmediate(resolve));
  })();
  const made = await Promise.all([slow, ...range(8, (i) => ask({ type: "integer", maximum: i }))]);
  isOver = true;
  await ticking;
  // The asking thread went on meanwhile.
  expect(turns).toBeGreaterThan(5);
  expect(made.map(({ type }) => type)).toEqual(["unsupported", ...range(8, () => "compiled")]);
  expect(await ask({ type: "integer", maximum: 3 })).toBe(made[4]);
  await compiler.close();
});
