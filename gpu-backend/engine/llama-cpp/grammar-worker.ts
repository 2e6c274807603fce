/** Compiles grammars in a thread of its own: a schema may take a while, and nothing else should wait for it. */
import { constants, getPriority, setPriority } from "node:os";
import { parentPort } from "node:worker_threads";
import { compileGrammar } from "./grammar/grammar.ts";
import type { GrammarLimitsName } from "./grammar/limits.ts";
import type { Grammar } from "../grammar.ts";

export interface CompileOrder {
  id: number;
  grammar: Grammar;
  limits: GrammarLimitsName;
}

/**
 * Answers under way need a processor more than a schema that somebody waits for: beside them it gets a third of one. Linux has a priority for each thread,
 * other systems for a process alone.
 */
const NICER = 5;
if (process.platform === "linux") setPriority(Math.min(constants.priority.PRIORITY_LOW, getPriority() + NICER));

parentPort?.on("message", ({ id, grammar, limits }: CompileOrder) => {
  parentPort?.postMessage({ id, compiled: compileGrammar(grammar, limits) });
});
