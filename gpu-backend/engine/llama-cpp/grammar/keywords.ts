/** Which keywords of JSON Schema may stand where. */
import { UnsupportedError } from "./rules.ts";

const words = (...lines: readonly string[]): ReadonlySet<string> => new Set(lines.flatMap((line) => line.split(" ")));

export type Schema = Readonly<Record<string, unknown>>;

/** Keywords that bind values of one type only. */
export const typeKeywords = {
  object: words("properties required additionalProperties"),
  array: words("items minItems maxItems"),
  string: words("minLength maxLength pattern format"),
  number: words("minimum maximum exclusiveMinimum exclusiveMaximum multipleOf"),
} as const;

/** Decide alone, or nearly so. */
const deciders = words("type enum const anyOf oneOf allOf $ref");
const unheldKeywords = words(
  "not if then else dependentRequired dependentSchemas dependencies patternProperties propertyNames",
  "minProperties maxProperties unevaluatedProperties unevaluatedItems contains minContains maxContains",
  "uniqueItems prefixItems additionalItems $dynamicRef $recursiveRef",
);
/** Say nothing, or nothing that a closed grammar could break. */
const harmless: Readonly<Record<string, unknown>> = { uniqueItems: false, unevaluatedProperties: false, unevaluatedItems: false };

export function isSchema(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function refuse(pointer: string, what: string): never {
  throw new UnsupportedError(what, pointer);
}

/** The keywords that change the meaning and cannot be held. */
export function unheld(schema: Schema): string[] {
  return Object.keys(schema).filter((keyword) => unheldKeywords.has(keyword) && harmless[keyword] !== schema[keyword]);
}

/** The keyword says which values are valid; annotations do not. */
export function binds(keyword: string): boolean {
  return deciders.has(keyword) || Object.values(typeKeywords).some((keywords) => keywords.has(keyword));
}

/** The schema but for one keyword, as far as it binds. */
export function bindingBeside(schema: Schema, keyword: string): Schema {
  return Object.fromEntries(Object.entries(schema).filter(([name]) => name !== keyword && binds(name)));
}

/** A count the schema gives, or undefined. */
export function countOf(schema: Schema, keyword: string, pointer: string): number | undefined {
  const value = schema[keyword];
  if (value === undefined) return undefined;
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) refuse(`${pointer}/${keyword}`, "must be a whole number");
  return value;
}

/** One segment of a JSON pointer. */
export const segment = (name: string): string => name.replaceAll("~", "~0").replaceAll("/", "~1");
