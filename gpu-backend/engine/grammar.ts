/** What an answer must match, as an engine is asked for it; how the engine sees to that is its own. */

/** Text of one JSON value. `strict`: what of the schema can't be held is refused; else it alone is left out. */
export type FormatGrammar = { type: "json_object" } | { type: "json_schema"; schema: unknown; strict: boolean };

export interface GrammarTool {
  name: string;
  /** JSON Schema of the arguments, which are an object always; nothing in it: `{}`. */
  parameters: unknown;
  strict: boolean;
}

/** Without free white space, so that an untrained model ends too. */
export type Grammar =
  | FormatGrammar
  /**
   * One call or more (one if not parallel) of these tools, each `<tool_call>{"name":…,"arguments":…}</tool_call>`; or text of the format
   * instead, where one is given.
   */
  | { type: "tool_calls"; tools: readonly GrammarTool[]; parallel: boolean; otherwise: FormatGrammar | null };

/** Where in a grammar's schemas: of the format (null) or of the tool at this index, and a JSON pointer that begins with #. */
export interface GrammarPlace {
  tool: number | null;
  pointer: string;
}
