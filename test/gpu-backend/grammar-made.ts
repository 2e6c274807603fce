/** Grammars as llama.cpp itself reads them, and answers of the demo model to a schema. */
import { getLlama, LlamaLogLevel } from "node-llama-cpp";
import { afterAll, beforeAll, expect } from "vitest";
import type { Engine } from "../../gpu-backend/engine/engine.ts";
import { compileGrammar } from "../../gpu-backend/engine/llama-cpp/grammar/grammar.ts";
import { complete, startDemo } from "./engine-runs.ts";

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

export interface GrammarJudges {
  made: MakeGrammar;
  /** Of seeds 0, 1, …, each an answer of the demo model that ended by itself. */
  answers: (schema: unknown, seeds?: number, strict?: boolean) => Promise<unknown[]>;
}

/** For a file of tests: llama.cpp's reading of grammars, and an engine that is started before the first test and closed after the last. */
export function grammarJudges(): GrammarJudges {
  let make: MakeGrammar;
  let engine: Engine;
  beforeAll(async () => {
    make = await grammarMaker();
    engine = await startDemo({ contextTokens: 2048, grammarLimits: "short" });
  });
  afterAll(() => engine?.close());
  const answers: GrammarJudges["answers"] = async (schema, seeds = SEEDS, strict = true) => {
    const values: unknown[] = [];
    for (let seed = 0; seed < seeds; seed += 1) {
      const grammar = { type: "json_schema" as const, schema, strict };
      const { text, finished } = await complete(engine, `Answer ${seed}:`, { grammar, seed, temperature: 1, maxTokens: 1_500 });
      expect(finished.reason).toBe("stop");
      values.push(JSON.parse(text));
    }
    return values;
  };
  return { made: (schema) => make(schema), answers };
}
