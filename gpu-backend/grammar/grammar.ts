/**
 * What an answer must match, as a grammar in GBNF for llama.cpp: compact JSON, or tool calls around it.
 *
 * Example: {type: "json_schema", schema: {type: "object", properties: {ok: {type: "boolean"}}, required: ["ok"]}} matches {"ok":true}.
 */
import type { Grammar } from "../engine/engine.ts";
import { SchemaCompiler } from "./json-schema.ts";
import { isSchema } from "./keywords.ts";
import { shortBudget, shortLimits, wideLimits } from "./limits.ts";
import type { GrammarLimits } from "./limits.ts";
import { literal, oneOf, repeat, Rules, sequence, UnsupportedError } from "./rules.ts";
import type { Piece } from "./rules.ts";

export type CompiledGrammar = { type: "compiled"; gbnf: string; longest: number } | { type: "unsupported"; message: string };

const largestSource = 131_072;

function compileSchema(schema: unknown, rules: Rules, limits: GrammarLimits): Piece {
  const match = new SchemaCompiler(schema, rules, limits).root(schema);
  if (match === undefined) throw new UnsupportedError("#: no value of bounded size can match the schema");
  return match;
}

type Tool = { name: string; parameters: unknown };

/** Arguments are an object whatever the schema says or forgets to say. */
function argumentsOf({ name, parameters }: Tool, rules: Rules, limits: GrammarLimits): Piece {
  try {
    if (parameters === undefined || parameters === null) return literal("{}");
    const typed = isSchema(parameters) && parameters["type"] === undefined && parameters["properties"] !== undefined;
    return compileSchema(typed ? { ...parameters, type: "object" } : parameters, rules, limits);
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    throw new UnsupportedError(`parameters of the tool ${name}: ${error.message}`);
  }
}

function compileRoot(grammar: Grammar, rules: Rules, limits: GrammarLimits): Piece {
  if (grammar.type === "json_object") return new SchemaCompiler(true, rules, limits).anyObject(limits.depth);
  if (grammar.type === "json_schema") return compileSchema(grammar.schema, rules, limits);
  if (grammar.tools.length === 0) throw new UnsupportedError("there are no tools to call");
  const calls = grammar.tools.map((tool) => {
    const opening = literal(`<tool_call>{"name":${JSON.stringify(tool.name)},"arguments":`);
    return sequence(opening, argumentsOf(tool, rules, limits), literal("}</tool_call>"));
  });
  const call = rules.rule(oneOf(calls));
  return grammar.parallel ? sequence(call, repeat(sequence(literal("\n"), call), 0, limits.calls - 1)) : call;
}

function compileWithin(grammar: Grammar, limits: GrammarLimits): CompiledGrammar {
  const rules = new Rules();
  try {
    const root = compileRoot(grammar, rules, limits);
    return { type: "compiled", gbnf: rules.text(root), longest: root.longest };
  } catch (error) {
    if (error instanceof UnsupportedError) return { type: "unsupported", message: error.message };
    throw error;
  }
}

/** `short`: for a model that ends by chance only; what the schema leaves open is then bounded so that the text stays short. */
export function compileGrammar(grammar: Grammar, short: boolean): CompiledGrammar {
  if (JSON.stringify(grammar).length > largestSource) return { type: "unsupported", message: "the schema is too large" };
  const budget = short ? shortBudget : Infinity;
  let best: (CompiledGrammar & { type: "compiled" }) | undefined;
  let refusal: CompiledGrammar = { type: "unsupported", message: "" };
  for (const limits of short ? shortLimits : wideLimits) {
    const compiled = compileWithin(grammar, limits);
    if (compiled.type === "compiled") best = compiled;
    else if (best === undefined) refusal = compiled;
    if (best !== undefined && best.longest <= budget) break;
  }
  return best ?? refusal;
}
