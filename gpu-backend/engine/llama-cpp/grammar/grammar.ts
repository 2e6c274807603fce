/**
 * What an answer must match, as a grammar in GBNF for llama.cpp: compact JSON, or tool calls around it.
 *
 * Example: {type: "json_schema", schema: {type: "object", properties: {ok: {type: "boolean"}}, required: ["ok"]}} matches {"ok":true}.
 */
import { clip } from "../../../../src/wire/check.ts";
import type { FormatGrammar, Grammar, GrammarPlace, GrammarTool } from "../../grammar.ts";
import { SchemaCompiler } from "./json-schema.ts";
import { binds, isSchema } from "./keywords.ts";
import { grammarLimits, type GrammarLimits, type GrammarLimitSteps, type GrammarLimitsName } from "./limits.ts";
import { type Branch, literal, oneOf, oneOfTexts, repeat, Rules, sequence, UnsupportedError, type Piece } from "./rules.ts";
import { Strings } from "./strings.ts";

export type CompiledGrammar =
  | { type: "compiled"; gbnf: string; longest: number }
  | { type: "unsupported"; message: string; place: GrammarPlace | null };

/** Characters of JSON. */
const largestSource = 262_144;

/** An UnsupportedError of one of several schemas. */
class PlacedError extends Error {
  readonly place: GrammarPlace;

  constructor(message: string, place: GrammarPlace) {
    super(message);
    this.place = place;
  }
}

interface Making {
  rules: Rules;
  limits: GrammarLimits;
  strings: Strings;
}

function compileFormat(format: FormatGrammar, making: Making): Piece {
  const { limits } = making;
  if (format.type === "json_object") return new SchemaCompiler(true, { ...making, strict: true }).anyObject(limits.depth);
  const match = new SchemaCompiler(format.schema, { ...making, strict: format.strict }).root(format.schema);
  if (match === undefined) throw new UnsupportedError("no value of bounded size can match the schema", "#");
  return match;
}

/** Arguments are an object whatever the schema says or forgets to say. */
function argumentsOf({ parameters, strict }: GrammarTool, making: Making): Piece {
  if (parameters === undefined || parameters === null) return literal("{}");
  if (isSchema(parameters) && !Object.keys(parameters).some(binds)) return literal("{}");
  const match = new SchemaCompiler(parameters, { ...making, strict }).root(parameters, "object");
  if (match === undefined) throw new UnsupportedError("arguments are objects, and no object of bounded size can match the schema", "#");
  return match;
}

function compileCalls({ tools, parallel }: Grammar & { type: "tool_calls" }, making: Making): Piece {
  if (tools.length === 0) throw new UnsupportedError("there are no tools to call");
  const calls = tools.map((tool, index): Branch => {
    try {
      const given = making.rules.rule(sequence(argumentsOf(tool, making), literal("}</tool_call>")));
      return [`<tool_call>{"name":${JSON.stringify(tool.name)},"arguments":`, given];
    } catch (error) {
      if (!(error instanceof UnsupportedError)) throw error;
      throw new PlacedError(`parameters of the tool ${clip(tool.name)}: ${error.message}`, { tool: index, pointer: error.pointer ?? "#" });
    }
  });
  const call = making.rules.rule(oneOfTexts(calls));
  return parallel ? sequence(call, repeat(sequence(literal("\n"), call), 0, making.limits.calls - 1)) : call;
}

function compileRoot(grammar: Grammar, making: Making): Piece {
  if (grammar.type !== "tool_calls") return compileFormat(grammar, making);
  const calls = compileCalls(grammar, making);
  // No JSON text begins with a tag.
  return grammar.otherwise === null ? calls : oneOf([calls, compileFormat(grammar.otherwise, making)], true);
}

function compileWithin(grammar: Grammar, limits: GrammarLimits, strings: Strings): CompiledGrammar {
  const rules = new Rules();
  try {
    const root = compileRoot(grammar, { rules, limits, strings });
    return { type: "compiled", gbnf: rules.text(root), longest: root.longest };
  } catch (error) {
    if (error instanceof PlacedError) return { type: "unsupported", message: error.message, place: error.place };
    if (!(error instanceof UnsupportedError)) throw error;
    return { type: "unsupported", message: error.message, place: error.pointer === null ? null : { tool: null, pointer: error.pointer } };
  }
}

/** `limits`: how much the grammar allows where the schema sets no bound. */
export function compileGrammar(grammar: Grammar, limits: GrammarLimitsName): CompiledGrammar {
  if (JSON.stringify(grammar).length > largestSource) {
    return { type: "unsupported", message: `the schema is too large: it has more than ${largestSource} characters`, place: null };
  }
  const { steps: all, budget }: GrammarLimitSteps = grammarLimits[limits];
  const strings = new Strings();
  const [widest] = all;
  let found = compileWithin(grammar, widest, strings);
  const fits = (made: CompiledGrammar) => made.type === "compiled" && made.longest <= budget;
  if (fits(found)) return found;
  // The limits fall, and with them the longest text: the first that fits the budget is found by halving, else the last is taken.
  for (let [low, high] = [1, all.length - 1]; low <= high;) {
    const middle = (low + high) >> 1;
    const made = compileWithin(grammar, all[middle] ?? widest, strings);
    if (made.type === "compiled" && !(fits(found) && !fits(made))) found = made;
    if (fits(made)) high = middle - 1;
    else low = middle + 1;
  }
  return found;
}
