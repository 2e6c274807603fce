/**
 * Tools of OpenAI's responses API → functions, the only ones the model can call.
 * A `namespace` (Codex) gives its functions, each named `<namespace>__<name>`; a call of one is told with its `namespace` again (splitToolName).
 * Tools that OpenAI hosts (`web_search`, `file_search`, `mcp`, …) and free-form `custom` ones are left out: clients send them always, and the model does without.
 * Only a `tool_choice` that names one is refused.
 */
import type { Tool } from "../prefix/prompt.ts";
import { isObject, type Json, mustBe, Refused, refuse, wantObject, wantString } from "./check.ts";
import { wantFlag, wantSchema } from "./settings.ts";

/** A tool, and the path of its schema in the caller's body. */
export interface GivenTool {
  tool: Tool;
  schemaAt: string;
}

/** As an inner request has them. */
export function schemaPathsOf(given: readonly GivenTool[]): ReadonlyMap<string, string> {
  return new Map(given.map(({ tool, schemaAt }) => [tool.function.name, schemaAt]));
}

export function toolsOfResponses(value: unknown): GivenTool[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new Refused(mustBe("tools", "an array of tools", value));
  return value.flatMap((tool, index): GivenTool[] => {
    const at = `tools[${index}]`;
    const fields = wantObject(tool, at, "an object with `type`");
    const type = wantString(fields["type"], `${at}.type`);
    if (type === "function") return [functionTool(fields, at, "parameters", null)];
    return type === "namespace" ? namespaceTools(fields, at) : [];
  });
}

function namespaceTools(fields: Json, at: string): GivenTool[] {
  const namespace = wantString(fields["name"], `${at}.name`);
  const tools = fields["tools"];
  if (!Array.isArray(tools)) throw new Refused(mustBe(`${at}.tools`, "an array of tools", tools));
  return tools.flatMap((tool, index): GivenTool[] => {
    const inner = `${at}.tools[${index}]`;
    const parts = wantObject(tool, inner, "an object with `type`");
    return parts["type"] === "function" ? [functionTool(parts, inner, "parameters", namespace)] : [];
  });
}

/** Keys in the order in which OpenAI's chat documents them, so that the same tool is the same bytes through every API. */
export function functionTool(fields: Json, at: string, schemaKey: "parameters" | "input_schema", namespace: string | null): GivenTool {
  const schema = fields[schemaKey];
  const schemaAt = `${at}.${schemaKey}`;
  const name = wantString(fields["name"], `${at}.name`);
  if (name === "") throw new Refused(refuse(`${at}.name`, "must not be empty."));
  const description = fields["description"];
  if (description != null && typeof description !== "string") throw new Refused(mustBe(`${at}.description`, "a string", description));
  const tool: Tool = {
    type: "function",
    function: {
      name: namespace === null ? name : joinToolName(namespace, name),
      ...(description == null ? {} : { description }),
      ...(schema == null ? {} : { parameters: wantSchema(schema, schemaAt) }),
      ...(wantFlag(fields["strict"], `${at}.strict`) ? { strict: true } : {}),
    },
  };
  return { tool, schemaAt };
}

export function joinToolName(namespace: string, name: string): string {
  return namespace.endsWith("__") ? `${namespace}${name}` : `${namespace}__${name}`;
}

/** A name that the model called → what the caller knows it by. `tools` as in the request. */
export function splitToolName(tools: unknown, called: string): { name: string; namespace: string | null } {
  for (const space of Array.isArray(tools) ? (tools as unknown[]) : []) {
    if (!isObject(space) || space["type"] !== "namespace" || !Array.isArray(space["tools"])) continue;
    for (const tool of space["tools"] as unknown[]) {
      if (!isObject(tool) || typeof tool["name"] !== "string" || typeof space["name"] !== "string") continue;
      if (joinToolName(space["name"], tool["name"]) === called) return { name: tool["name"], namespace: space["name"] };
    }
  }
  return { name: called, namespace: null };
}
