/** Which keywords of JSON Schema may stand where. */
import { UnsupportedError } from "./rules.ts";

const words = (...lines: readonly string[]): ReadonlySet<string> => new Set(lines.flatMap((line) => line.split(" ")));

export type Schema = Readonly<Record<string, unknown>>;

/** Say nothing about what is valid, or nothing that a closed grammar could break. */
const annotations = words(
  "title description default examples example deprecated readOnly writeOnly $comment $schema $id $defs",
  "definitions $anchor format contentEncoding contentMediaType contentSchema nullable strict",
);

/** Keywords that bind values of one type only. */
export const typeKeywords = {
  object: new Set(["properties", "required", "additionalProperties"]),
  array: new Set(["items", "minItems", "maxItems"]),
  string: new Set(["minLength", "maxLength"]),
  number: new Set(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]),
} as const;

/** Decide alone, or nearly so. */
const deciders = words("type enum const anyOf oneOf allOf $ref");
const refusedKeywords = words(
  "not if then else dependentRequired dependentSchemas dependencies patternProperties propertyNames",
  "minProperties maxProperties unevaluatedProperties unevaluatedItems contains minContains maxContains",
  "uniqueItems prefixItems additionalItems multipleOf pattern $dynamicRef $recursiveRef",
);
const harmless: Readonly<Record<string, unknown>> = {
  uniqueItems: false,
  unevaluatedProperties: false,
  unevaluatedItems: false,
  multipleOf: 1,
};

export function isSchema(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function refuse(path: string, what: string): never {
  throw new UnsupportedError(`${path}: ${what}`);
}

/** Refuses what would change the meaning and cannot be made. */
export function checkKeywords(schema: Schema, path: string): void {
  for (const [keyword, value] of Object.entries(schema)) {
    const whole = keyword === "multipleOf" && schema["type"] !== "integer";
    if (refusedKeywords.has(keyword) && (harmless[keyword] !== value || whole)) {
      refuse(`${path}/${keyword}`, "this keyword is not supported");
    }
  }
}

/** Refuses keywords beside one that decides alone. */
export function checkAlone(schema: Schema, path: string, decider: string, ...also: readonly string[]): void {
  for (const keyword of Object.keys(schema)) {
    const bound = Object.values(typeKeywords).some((keywords) => keywords.has(keyword)) || deciders.has(keyword);
    if (keyword === decider || also.includes(keyword) || annotations.has(keyword) || !bound) continue;
    refuse(`${path}/${keyword}`, `not supported beside ${decider}`);
  }
}

/** A count the schema gives, or undefined. */
export function countOf(schema: Schema, keyword: string, path: string): number | undefined {
  const value = schema[keyword];
  if (value === undefined) return undefined;
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) refuse(`${path}/${keyword}`, "must be a whole number");
  return value;
}

/** One segment of a JSON pointer. */
export const segment = (name: string): string => name.replaceAll("~", "~0").replaceAll("/", "~1");
