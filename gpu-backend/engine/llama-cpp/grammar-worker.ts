/** Compiles grammars in a thread of its own: a schema may take a while, and nothing else should wait for it. */
import { parentPort } from "node:worker_threads";
import { compileGrammar } from "./grammar/grammar.ts";
import type { GrammarLimitsName } from "./grammar/limits.ts";
import type { Grammar } from "../grammar.ts";

export interface CompileOrder {
  id: number;
  grammar: Grammar;
  limits: GrammarLimitsName;
}

parentPort?.on("message", ({ id, grammar, limits }: CompileOrder) => {
  parentPort?.postMessage({ id, compiled: compileGrammar(grammar, limits) });
});
