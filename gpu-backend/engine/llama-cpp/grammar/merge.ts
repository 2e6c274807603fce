/** Two schemas as one that both must allow (`allOf`, and keywords that stand beside `$ref`, `anyOf` or `oneOf`). */
import { binds, isSchema, type Schema } from "./keywords.ts";

/** `conflict`: keywords of the second that can't be said together with the first's, and were left out. */
interface Merged {
  schema: Schema | false;
  conflicts: string[];
}

const larger: ReadonlySet<string> = new Set(["minimum", "exclusiveMinimum", "minLength", "minItems"]);
const smaller: ReadonlySet<string> = new Set(["maximum", "exclusiveMaximum", "maxLength", "maxItems"]);

const same = (left: unknown, right: unknown): boolean => JSON.stringify(left) === JSON.stringify(right);
const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? (value as unknown[]) : [value]);

/** Keywords that bind; a schema that allows nothing is `false`. */
export function merge(first: unknown, second: unknown): Merged {
  if (first === false || second === false) return { schema: false, conflicts: [] };
  const [left, right] = [isSchema(first) ? first : {}, isSchema(second) ? second : {}];
  const merged: Record<string, unknown> = { ...left };
  const conflicts: string[] = [];
  for (const [keyword, value] of Object.entries(right)) {
    const before = merged[keyword];
    if (before === undefined || !binds(keyword)) merged[keyword] ??= value;
    else if (keyword === "properties" || keyword === "additionalProperties" || keyword === "required") continue;
    else if (!same(before, value)) {
      const both = joined(keyword, before, value);
      if (both === "none") return { schema: false, conflicts };
      if (both === "conflict") conflicts.push(keyword);
      else merged[keyword] = both.value;
    }
  }
  return { schema: { ...merged, ...objectsOf(left, right) }, conflicts };
}

function joined(keyword: string, left: unknown, right: unknown): { value: unknown } | "none" | "conflict" {
  if (keyword === "type") {
    const types = typesIn(listOf(left), listOf(right));
    return types.length === 0 ? "none" : { value: types };
  }
  if (keyword === "enum" && Array.isArray(left) && Array.isArray(right)) {
    const texts = new Set(right.map((value) => JSON.stringify(value)));
    const values = left.filter((value) => texts.has(JSON.stringify(value)));
    return values.length === 0 ? "none" : { value: values };
  }
  if (keyword === "const") return "none";
  if (keyword === "items") return { value: { allOf: [left, right] } };
  if (typeof left === "number" && typeof right === "number") {
    if (larger.has(keyword)) return { value: Math.max(left, right) };
    if (smaller.has(keyword)) return { value: Math.min(left, right) };
  }
  return "conflict";
}

/** Those in both; a number in one and an integer in the other is an integer. */
function typesIn(left: readonly unknown[], right: readonly unknown[]): unknown[] {
  const both = left.filter((type) => right.includes(type));
  const whole = (side: readonly unknown[], other: readonly unknown[]) => side.includes("integer") && other.includes("number");
  if (!both.includes("integer") && (whole(left, right) || whole(right, left))) both.push("integer");
  return both;
}

/** A closed schema (`additionalProperties: false`) lets no other's properties in. */
function objectsOf(left: Schema, right: Schema): Schema {
  const sides = [left, right].map((schema) => ({
    properties: isSchema(schema["properties"]) ? schema["properties"] : undefined,
    required: Array.isArray(schema["required"]) ? (schema["required"] as unknown[]) : [],
    extra: schema["additionalProperties"],
  }));
  const [a, b] = sides;
  if (a === undefined || b === undefined) return {};
  const properties: Record<string, unknown> = {};
  for (const name of new Set(sides.flatMap((side) => Object.keys(side.properties ?? {})))) {
    const parts = sides.map(({ properties: own, extra }) => (own !== undefined && Object.hasOwn(own, name) ? own[name] : extra));
    const [one, other] = parts;
    properties[name] = one === undefined || other === undefined || same(one, other) ? (one ?? other) : { allOf: [one, other] };
  }
  const required = [...new Set(sides.flatMap((side) => side.required))];
  const extra = a.extra === undefined || b.extra === undefined ? (a.extra ?? b.extra) : { allOf: [a.extra, b.extra] };
  return {
    ...(a.properties === undefined && b.properties === undefined ? {} : { properties }),
    ...(required.length > 0 ? { required } : {}),
    ...(extra === undefined ? {} : { additionalProperties: a.extra === false || b.extra === false ? false : extra }),
  };
}
