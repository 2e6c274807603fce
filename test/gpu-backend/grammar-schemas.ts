/** Schemas to answer by, and a judge of the answers that shares no code with the grammar. */
const node = { $ref: "#/$defs/node" };

export const schemas: Record<string, unknown> = {
  empty: { type: "object", properties: {}, additionalProperties: false },
  flat: {
    type: "object",
    properties: { name: { type: "string" }, age: { type: "integer" }, ok: { type: "boolean" } },
    required: ["name", "age", "ok"],
    additionalProperties: false,
  },
  optional: { type: "object", properties: { a: { type: "null" }, b: { type: "boolean" }, c: { type: "integer" } } },
  "optional first": { type: "object", properties: { a: { type: "null" }, b: { type: "boolean" } }, required: ["b"] },
  "no type": { properties: { a: { type: "string", maxLength: 4 } }, required: ["a"] },
  free: { type: "object" },
  map: { type: "object", additionalProperties: { type: "integer", minimum: 0 } },
  anything: {},
  "strings of a length": { type: "array", items: { type: "string", minLength: 3, maxLength: 5 }, minItems: 2, maxItems: 3 },
  format: { type: "string", format: "date-time", description: "when" },
  enum: { type: "string", enum: ["red", 'with "quotes"', "new\nline", "back\\slash", "ключ", ""] },
  "mixed enum": { enum: [1, "one", null, true, { one: [1, 2] }, -1.5] },
  const: { type: "object", properties: { kind: { const: "cat" }, version: { const: 2 } }, required: ["kind", "version"] },
  integer: { type: "integer" },
  "integer range": { type: "array", items: { type: "integer", minimum: -17, maximum: 1203 }, minItems: 4 },
  "open integers": { type: "array", items: { type: "integer", exclusiveMinimum: 8, exclusiveMaximum: 11 }, minItems: 3 },
  "at least": { type: "array", items: { type: "integer", minimum: 98 }, minItems: 2 },
  number: { type: "array", items: { type: "number" }, minItems: 3 },
  "number range": { type: "array", items: { type: "number", minimum: -1.5, exclusiveMaximum: 3 }, minItems: 4 },
  "null or text": { anyOf: [{ type: "string" }, { type: "null" }], title: "Maybe", default: null },
  "one of": { oneOf: [{ type: "object", properties: { a: { type: "integer" } }, required: ["a"] }, { type: "boolean" }] },
  "type list": { type: "array", items: { type: ["string", "null", "boolean"] }, minItems: 3 },
  "all of": {
    allOf: [{ $ref: "#/definitions/pair" }],
    definitions: { pair: { type: "array", items: { type: "boolean" }, minItems: 2, maxItems: 2 } },
  },
  nested: {
    type: "array",
    items: { type: "array", items: { type: "array", items: { type: "integer", minimum: 0, maximum: 9 } } },
    minItems: 1,
  },
  tree: {
    ...node,
    $defs: {
      node: {
        type: "object",
        properties: { value: { type: "string" }, children: { type: "array", items: node } },
        required: ["value", "children"],
      },
    },
  },
  list: {
    type: "object",
    properties: { head: { type: "integer" }, tail: { anyOf: [{ $ref: "#" }, { type: "null" }] } },
    required: ["head", "tail"],
  },
  "odd names": {
    type: "object",
    properties: { 'a"b': { type: "boolean" }, "c/d~e\\": { type: "boolean" } },
    required: ['a"b', "c/d~e\\", "other"],
  },
  wide: {
    type: "object",
    properties: Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`property${i}`, { type: "string" }])),
    required: Array.from({ length: 20 }, (_, i) => `property${i}`),
  },
};

type Json = Record<string, unknown>;

function typeOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  return typeof value;
}

function isType(value: unknown, type: unknown): boolean {
  return type === "integer" ? Number.isInteger(value) : typeOf(value) === type;
}

function resolve(root: unknown, pointer: string): unknown {
  return pointer
    .split("/")
    .slice(1)
    .reduce((value: unknown, part) => (value as Json)[part], root);
}

const sized = (size: number, least: unknown, most: unknown) => size >= Number(least ?? 0) && size <= Number(most ?? Infinity);

function validNumber(value: number, schema: Json): boolean {
  const { minimum = -Infinity, maximum = Infinity, exclusiveMinimum = -Infinity, exclusiveMaximum = Infinity } = schema;
  return value >= Number(minimum) && value <= Number(maximum) && value > Number(exclusiveMinimum) && value < Number(exclusiveMaximum);
}

function validObject(value: Json, schema: Json, root: unknown): boolean {
  const properties = (schema["properties"] ?? {}) as Json;
  const names = Object.keys(value);
  const extra = schema["additionalProperties"] ?? true;
  return (
    ((schema["required"] ?? []) as string[]).every((name) => names.includes(name)) &&
    names.every((name) => valid(value[name], Object.hasOwn(properties, name) ? properties[name] : extra, root))
  );
}

/** The value matches the schema; knows the keywords used in these tests. */
export function valid(value: unknown, schema: unknown, root = schema): boolean {
  if (typeof schema === "boolean") return schema;
  const rules = schema as Json;
  if (typeof rules["$ref"] === "string") return valid(value, resolve(root, rules["$ref"]), root);
  for (const keyword of ["anyOf", "oneOf", "allOf"]) {
    const members = rules[keyword] as unknown[] | undefined;
    if (members !== undefined && !members.some((member) => valid(value, member, root))) return false;
  }
  const same = (other: unknown) => JSON.stringify(other) === JSON.stringify(value);
  if ("const" in rules && !same(rules["const"])) return false;
  if (Array.isArray(rules["enum"]) && !rules["enum"].some(same)) return false;
  if (rules["type"] !== undefined && ![rules["type"]].flat().some((type) => isType(value, type))) return false;
  if (typeof value === "string") return sized(Array.from(value).length, rules["minLength"], rules["maxLength"]);
  if (typeof value === "number") return validNumber(value, rules);
  if (Array.isArray(value)) {
    return sized(value.length, rules["minItems"], rules["maxItems"]) && value.every((item) => valid(item, rules["items"] ?? true, root));
  }
  return typeOf(value) !== "object" || validObject(value as Json, rules, root);
}
