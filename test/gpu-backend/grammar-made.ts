/** Grammars as llama.cpp itself reads them, and answers of the demo model to a schema. */
import { getLlama, LlamaLogLevel } from "node-llama-cpp";
import { expect } from "vitest";
import type { Engine } from "../../gpu-backend/engine/engine.ts";
import { compileGrammar } from "../../gpu-backend/engine/llama-cpp/grammar/grammar.ts";
import { complete } from "./engine-runs.ts";

/** More with WARMPATH_FULL=1. */
export const SEEDS = process.env["WARMPATH_FULL"] === "1" ? 12 : 3;

export interface MadeGrammar {
  /** The whole text matches. */
  isTextCompatible(text: string): boolean;
}

export type MakeGrammar = (schema: unknown) => MadeGrammar;

/** Strict, for a model that ends by itself. */
export async function grammarMaker(): Promise<MakeGrammar> {
  const llama = await getLlama({ gpu: false, build: "never", skipDownload: true, progressLogs: false, logLevel: LlamaLogLevel.error });
  const { AddonGrammar } = Reflect.get(llama, "_bindings") as { AddonGrammar: new (gbnf: string) => MadeGrammar };
  return (schema) => {
    const compiled = compileGrammar({ type: "json_schema", schema, strict: true }, "wide");
    if (compiled.type === "unsupported") throw new Error(compiled.message);
    return new AddonGrammar(compiled.gbnf);
  };
}

/** Of seeds 0, 1, …, each an answer that ended by itself. */
export async function answers(engine: Engine, schema: unknown, seeds = SEEDS, strict = true): Promise<unknown[]> {
  const values: unknown[] = [];
  for (let seed = 0; seed < seeds; seed += 1) {
    const grammar = { type: "json_schema" as const, schema, strict };
    const { text, finished } = await complete(engine, `Answer ${seed}:`, { grammar, seed, temperature: 1, maxTokens: 1_500 });
    expect(finished.reason).toBe("stop");
    values.push(JSON.parse(text));
  }
  return values;
}
