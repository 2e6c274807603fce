/** Schemas that ask for as much of the grammar's time as a schema can: by hand, and at random. */
type Random = () => number;
type Json = Record<string, unknown>;

const range = <T>(count: number, make: (index: number) => T): T[] => Array.from({ length: count }, (_, index) => make(index));
const object = (properties: Json, required: readonly string[] = []) => ({
  type: "object",
  properties,
  required,
  additionalProperties: false,
});
const named = (count: number, make: (index: number) => unknown): Json => Object.fromEntries(range(count, (i) => [`property${i}`, make(i)]));

function nested(depth: number, inside: unknown): unknown {
  return depth === 0 ? inside : { type: "array", items: nested(depth - 1, inside), maxItems: 1_024 };
}

/** Name → schema. */
export const hardSchemas: Readonly<Record<string, unknown>> = {
  "an enum of 10,000": object({ a: { enum: range(10_000, (i) => `v${i}`) } }, ["a"]),
  "an enum of 10,000 numbers": { enum: range(10_000, (i) => i * 7) },
  "an enum of 2,000 first characters": { enum: range(2_000, (i) => String.fromCodePoint(0x4e00 + i)) },
  "an enum of 1,000 first characters": { enum: range(1_000, (i) => String.fromCodePoint(0x4e00 + i)) },
  "an enum of 500 that begin each other": { enum: range(500, (i) => "a".repeat(i)) },
  "1,000 optional properties": object(named(1_000, () => ({ type: "boolean" }))),
  "2,000 required properties": object(
    named(2_000, () => ({ type: "boolean" })),
    Object.keys(named(2_000, () => 0)),
  ),
  "1,000 objects to choose from": { anyOf: range(1_000, (i) => object({ kind: { const: `k${i}` } }, ["kind"])) },
  "30 choices of 30 choices of 30": {
    anyOf: range(30, (i) =>
      object({ a: { anyOf: range(30, (j) => object({ b: { anyOf: range(30, (k) => ({ const: `${i} ${j} ${k}` })) } })) } }),
    ),
  },
  "texts to choose from": { anyOf: range(200, (i) => ({ type: "string", maxLength: 100 + i })) },
  "long strings": object(named(40, (i) => ({ type: "string", minLength: i, maxLength: 900 + i }))),
  "lists of lists": nested(8, { type: "string", maxLength: 1_024 }),
  "a tree that grows": {
    $ref: "#/$defs/n",
    $defs: { n: object(Object.fromEntries(range(12, (i) => [`c${i}`, { anyOf: [{ $ref: "#/$defs/n" }, { type: "null" }] }]))) },
  },
  "allOf of 500": { allOf: range(500, (i) => ({ properties: { [`p${i}`]: { type: "integer" } }, required: [`p${i}`] })) },
  "a pattern that doubles": { type: "string", pattern: "^(a|b)*a(a|b){12}$" },
  "a pattern that doubles more": { type: "string", pattern: "^(a|b)*a(a|b){40}$" },
  "many lookaheads": { type: "string", pattern: `^${range(24, (i) => `(?=.*${String.fromCodePoint(97 + i)})`).join("")}.*$` },
  "many negative lookaheads": { type: "string", pattern: `^${range(24, (i) => `(?!.*${String.fromCodePoint(97 + i)}x)`).join("")}.*$` },
  "a repetition of repetitions": { type: "string", pattern: "^(((a{1,60}){1,60}){1,60})$" },
  "a large count": { type: "string", pattern: "^a{100000}$" },
  "letters of all scripts": { type: "string", pattern: "^\\p{L}{1,200}\\p{N}{1,200}\\P{P}*$" },
  "60 different patterns": object(named(60, (i) => ({ type: "string", pattern: `^[a-z]{${i}}(x|y|z)*-\\d{${i},60}$` }))),
  "all formats, many times": object(
    named(60, (i) => ({ type: "string", format: ["date-time", "email", "hostname", "uri", "ipv6", "uuid", "duration"][i % 7] })),
  ),
  "large steps": object(named(200, (i) => ({ type: "integer", multipleOf: 9_999_991 - i }))),
  "steps to count": object(named(60, (i) => ({ type: "integer", multipleOf: 97 + i }))),
  "many ranges": object(named(300, (i) => ({ type: "integer", minimum: -123_456_789_012 - i, maximum: 987_654_321_098 + i }))),
};

const CHARACTERS = Array.from("abcxyz019.-_/@ éß中🙂\\d\\w\\s");
const pick = <T>(random: Random, of: readonly T[]): T => of[Math.floor(random() * of.length)] as T;

function pattern(random: Random, depth: number): string {
  const atom = (): string => {
    const kind = Math.floor(random() * 6);
    if (kind === 0 && depth > 0) return `(${pattern(random, depth - 1)}|${pattern(random, depth - 1)})`;
    if (kind === 1) return `[${random() < 0.3 ? "^" : ""}a-m${Math.floor(random() * 9)}]`;
    if (kind === 2) return pick(random, ["\\d", "\\w", "\\s", ".", "\\p{L}"]);
    if (kind === 3 && depth > 0) return `(?${pick(random, ["=", "!"])}${pattern(random, depth - 1)})`;
    return pick(random, ["a", "b", "x", "-", "/", "é", "中"]);
  };
  const times = () => (random() < 0.4 ? pick(random, ["*", "+", "?", "{2,9}", "{0,200}", "{3}"]) : "");
  return range(1 + Math.floor(random() * 6), () => {
    const one = atom();
    return one.startsWith("(?") ? one : one + times();
  }).join("");
}

/** Any schema of about `size` parts. */
export function randomSchema(random: Random, size: number): unknown {
  const count = Math.max(1, Math.floor(random() * Math.sqrt(size) * 2));
  const part = () => randomSchema(random, size / count - 1);
  const kind = size < 2 ? 4 + Math.floor(random() * 6) : Math.floor(random() * 10);
  const word = () => range(1 + Math.floor(random() * 9), () => pick(random, CHARACTERS)).join("");
  if (kind <= 1) {
    const properties = Object.fromEntries(range(count, () => [word(), part()]));
    return object(
      properties,
      Object.keys(properties).filter(() => random() < 0.5),
    );
  }
  if (kind === 2) return { [pick(random, ["anyOf", "oneOf"])]: range(count, part) };
  if (kind === 3) return { type: "array", items: part(), minItems: Math.floor(random() * 4) };
  if (kind === 4) return { enum: range(1 + Math.floor(random() * 300), word) };
  if (kind === 5) return { type: "string", pattern: pattern(random, 3) };
  if (kind === 6) return { type: "string", minLength: Math.floor(random() * 40), maxLength: 40 + Math.floor(random() * 1_000) };
  if (kind === 7) return { type: "integer", multipleOf: 1 + Math.floor(random() * 500), minimum: -Math.floor(random() * 1e9) };
  if (kind === 8) return { type: "string", format: pick(random, ["date-time", "email", "uri", "ipv6", "hostname", "duration"]) };
  return {};
}
