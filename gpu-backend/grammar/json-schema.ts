/**
 * JSON Schema as a grammar of compact JSON: properties in the schema's order, no white space, objects closed. Everything it matches is
 * valid; not everything valid is matched. `undefined` stands for a schema that nothing can match within the limits.
 */
import { checkAlone, checkKeywords, countOf, isSchema, refuse, segment, typeKeywords } from "./keywords.ts";
import type { Schema } from "./keywords.ts";
import { largestRepeat } from "./limits.ts";
import type { GrammarLimits } from "./limits.ts";
import { anyInteger, anyNumber, integersBetween, numbersBetween, wholeBounds } from "./numbers.ts";
import { References } from "./references.ts";
import { literal, oneOf, repeat, Rules, sequence } from "./rules.ts";
import type { Piece } from "./rules.ts";

type Match = Piece | undefined;
const deepest = 64;
const types = ["object", "array", "string", "number", "integer", "boolean", "null"] as const;
type Type = (typeof types)[number];
/**
 * One character (Unicode code point) of a JSON string. Named one by one, not by what they are not: llama.cpp's decoder also gives surrogates
 * and numbers above U+10FFFF. Escapes by number are left out: halves of a surrogate pair are no text.
 */
const character: Piece = {
  gbnf: '[\\x20-\\x21\\x23-\\x5B\\x5D-\\x7E\\u0080-\\uD7FF\\uE000-\\U0010FFFF] | "\\\\" ["\\\\/bfnrt]',
  longest: 1,
};

const some = (matches: readonly Match[]): Match => {
  const possible = matches.filter((match) => match !== undefined);
  return possible.length === 0 ? undefined : oneOf(possible);
};

/** Where a schema stands: its path, how deep, and how many recursive references led there. */
interface Place {
  path: string;
  depth: number;
  recursion: number;
}

const inside = (place: Place, name: string): Place => ({ ...place, path: `${place.path}/${name}`, depth: place.depth + 1 });

export class SchemaCompiler {
  readonly #rules: Rules;
  readonly #limits: GrammarLimits;
  readonly #references: References;
  readonly #done = new Map<string, Match>();
  readonly #values = new Map<number, Piece>();

  constructor(root: unknown, rules: Rules, limits: GrammarLimits) {
    this.#rules = rules;
    this.#limits = limits;
    this.#references = new References(root);
  }

  /** Throws an UnsupportedError that says where. */
  root(schema: unknown): Match {
    return this.#any(schema, { path: "#", depth: 0, recursion: 0 });
  }

  /** Any JSON value, with `depth` arrays or objects inside each other. */
  anyValue(depth: number): Piece {
    const known = this.#values.get(depth);
    if (known !== undefined) return known;
    const plain = [this.#string(0, this.#limits.string), this.#number(), literal("true"), literal("false"), literal("null")];
    const nested = depth > 0 ? [this.anyObject(depth), this.#list(this.anyValue(depth - 1), 0, this.#limits.items)] : [];
    const value = this.#rules.rule(oneOf([...plain, ...nested]));
    this.#values.set(depth, value);
    return value;
  }

  anyObject(depth: number): Piece {
    return this.#map(this.anyValue(depth - 1));
  }

  #any(schema: unknown, place: Place): Match {
    if (place.depth > deepest) return refuse(place.path, "nested too deep");
    if (schema === true) return this.anyValue(this.#limits.depth);
    if (schema === false) return undefined;
    if (!isSchema(schema)) return refuse(place.path, "must be a schema");
    checkKeywords(schema, place.path);
    if (schema["$ref"] !== undefined) return this.#reference(schema, place);
    for (const keyword of ["anyOf", "oneOf", "allOf"] as const) {
      if (schema[keyword] !== undefined) return this.#combination(schema, keyword, place);
    }
    if (schema["const"] !== undefined || schema["enum"] !== undefined) return this.#choice(schema, place);
    return some(this.#typesOf(schema, place).map((type) => this.#typed(schema, type, place)));
  }

  #reference(schema: Schema, place: Place): Match {
    checkAlone(schema, place.path, "$ref");
    const found = this.#references.find(schema["$ref"], `${place.path}/$ref`);
    const recursion = place.recursion + (found.recursive ? 1 : 0);
    if (recursion > this.#limits.recursion) return undefined;
    const key = `${recursion} ${found.pointer}`;
    if (this.#done.has(key)) return this.#done.get(key);
    const match = this.#any(found.schema, { path: found.pointer, depth: place.depth + 1, recursion });
    const made = match === undefined ? undefined : this.#rules.rule(match);
    this.#done.set(key, made);
    return made;
  }

  #combination(schema: Schema, keyword: "anyOf" | "oneOf" | "allOf", place: Place): Match {
    checkAlone(schema, place.path, keyword);
    const path = `${place.path}/${keyword}`;
    const members = schema[keyword];
    if (!Array.isArray(members) || members.length === 0) return refuse(path, "must be a list of schemas");
    if (keyword === "allOf" && members.length > 1) return refuse(path, "more than one schema is not supported");
    return some(members.map((member: unknown, i) => this.#any(member, inside(place, `${keyword}/${i}`))));
  }

  #choice(schema: Schema, place: Place): Match {
    const keyword = schema["const"] === undefined ? "enum" : "const";
    checkAlone(schema, place.path, keyword, "type");
    const values: unknown = keyword === "const" ? [schema["const"]] : schema["enum"];
    if (!Array.isArray(values) || values.length === 0) return refuse(`${place.path}/enum`, "must be a list of values");
    const allowed = schema["type"] === undefined ? undefined : this.#typesOf(schema, place);
    const fits = (value: unknown) => allowed === undefined || allowed.some((type) => isOfType(value, type));
    return some(values.map((value: unknown) => (fits(value) ? literal(JSON.stringify(value)) : undefined)));
  }

  #typesOf(schema: Schema, place: Place): Type[] {
    const named = schema["type"];
    const path = `${place.path}/type`;
    if (named !== undefined) {
      const list: unknown[] = Array.isArray(named) ? named : [named];
      return list.map((name) => types.find((type) => type === name) ?? refuse(path, `${JSON.stringify(name)} is no type`));
    }
    // Without a type, what the keywords speak of.
    const spoken = Object.entries(typeKeywords).filter(([, keywords]) => Object.keys(schema).some((keyword) => keywords.has(keyword)));
    return spoken.length > 0 ? spoken.map(([type]) => type as keyof typeof typeKeywords) : [...types];
  }

  #typed(schema: Schema, type: Type, place: Place): Match {
    if (type === "null") return literal("null");
    if (type === "boolean") return oneOf([literal("true"), literal("false")]);
    if (type === "string") {
      const [least, most] = this.#range(schema, "Length", this.#limits.string, place);
      return least > most ? undefined : this.#string(least, most);
    }
    if (type === "array") return this.#array(schema, place);
    if (type === "object") return this.#object(schema, place);
    return this.#bounded(schema, type, place);
  }

  /** What minX and maxX say, or the limit; both at most `largestRepeat` unless unbounded. */
  #range(schema: Schema, what: "Length" | "Items", limit: number, place: Place): [number, number] {
    const least = countOf(schema, `min${what}`, place.path) ?? 0;
    const most = countOf(schema, `max${what}`, place.path);
    if (least > largestRepeat) return refuse(`${place.path}/min${what}`, `more than ${largestRepeat} is not supported`);
    return [least, most === undefined ? Math.max(least, limit) : Math.min(most, largestRepeat)];
  }

  #string(least: number, most: number): Piece {
    const quote = literal('"');
    return this.#rules.rule(sequence(quote, repeat(this.#rules.rule(character), least, most), quote));
  }

  #number(): Piece {
    return this.#rules.rule(anyNumber(this.#limits.digits, this.#limits.fraction));
  }

  #bounded(schema: Schema, type: "number" | "integer", place: Place): Match {
    const given = (keyword: string): number | undefined => {
      const value = schema[keyword];
      if (value === undefined) return undefined;
      if (typeof value !== "number" || Math.abs(value) > Number.MAX_SAFE_INTEGER)
        return refuse(`${place.path}/${keyword}`, "must be a safe number");
      return value;
    };
    const [minimum, above] = [given("minimum"), given("exclusiveMinimum")];
    const [maximum, below] = [given("maximum"), given("exclusiveMaximum")];
    if ([minimum, above, maximum, below].every((bound) => bound === undefined)) {
      return type === "number" ? this.#number() : this.#rules.rule(anyInteger(this.#limits.digits));
    }
    const [low, high] = [Math.max(minimum ?? -Infinity, above ?? -Infinity), Math.min(maximum ?? Infinity, below ?? Infinity)];
    const reach = 10 ** this.#limits.digits - 1;
    const bounds = {
      least: low === -Infinity ? Math.min(-reach, high - reach) : low,
      openLeast: above !== undefined && above === low,
      most: high === Infinity ? Math.max(reach, low + reach) : high,
      openMost: below !== undefined && below === high,
    };
    const match = type === "integer" ? integersBetween(...wholeBounds(bounds)) : numbersBetween(bounds, this.#limits.fraction);
    if (match === undefined && low <= high) return refuse(place.path, "numbers between bounds this close are not supported");
    return match === undefined ? undefined : this.#rules.rule(match);
  }

  #array(schema: Schema, place: Place): Match {
    const [least, most] = this.#range(schema, "Items", this.#limits.items, place);
    if (least > most) return undefined;
    const item = this.#any(schema["items"] ?? true, inside(place, "items"));
    if (item === undefined) return least === 0 ? literal("[]") : undefined;
    return this.#list(item, least, most);
  }

  #list(item: Piece, least: number, most: number): Piece {
    if (most === 0) return literal("[]");
    // A rule, because llama.cpp limits repetitions times what they repeat.
    const next = this.#rules.rule(sequence(literal(","), item));
    const full = sequence(item, repeat(next, Math.max(0, least - 1), most - 1));
    return this.#rules.rule(sequence(literal("["), least === 0 ? repeat(full, 0, 1) : full, literal("]")));
  }

  /** An object of free names. */
  #map(value: Piece): Piece {
    const pair = this.#rules.rule(sequence(this.#string(1, this.#limits.key), literal(":"), value));
    const full = sequence(pair, repeat(sequence(literal(","), pair), 0, this.#limits.entries - 1));
    return this.#rules.rule(sequence(literal("{"), repeat(full, 0, 1), literal("}")));
  }

  #object(schema: Schema, place: Place): Match {
    const { properties = {}, required = [], additionalProperties } = schema;
    if (!isSchema(properties)) return refuse(`${place.path}/properties`, "must be an object");
    if (!Array.isArray(required)) return refuse(`${place.path}/required`, "must be a list of names");
    const needed = new Set(required.map(String));
    const names = [...new Set([...Object.keys(properties), ...needed])];
    if (names.length === 0 && schema["properties"] === undefined && additionalProperties !== false) {
      const value = this.#any(additionalProperties ?? true, inside(place, "additionalProperties"));
      return value === undefined ? literal("{}") : this.#map(value);
    }
    const pairs: { pair: Piece; optional: boolean }[] = [];
    for (const name of names) {
      const listed = Object.hasOwn(properties, name);
      const value = listed
        ? this.#any(properties[name], inside(place, `properties/${segment(name)}`))
        : this.#any(additionalProperties ?? true, inside(place, `required/${segment(name)}`));
      if (value === undefined && needed.has(name)) return undefined;
      if (value === undefined) continue;
      pairs.push({ pair: this.#rules.rule(sequence(literal(`${JSON.stringify(name)}:`), value)), optional: !needed.has(name) });
    }
    return this.#rules.rule(sequence(literal("{"), this.#members(pairs), literal("}")));
  }

  /** Members in order. A comma stands before each but the first that is there. */
  #members(pairs: readonly { pair: Piece; optional: boolean }[]): Piece {
    const nothing: Piece = { gbnf: '""', longest: 0 };
    let rest = nothing;
    let start = nothing;
    for (const { pair, optional } of pairs.toReversed()) {
      const first = sequence(pair, rest);
      start = this.#rules.rule(optional ? oneOf([first, start]) : first);
      const next = sequence(literal(","), pair);
      rest = this.#rules.rule(sequence(optional ? repeat(next, 0, 1) : next, rest));
    }
    return start;
  }
}

function isOfType(value: unknown, type: Type): boolean {
  if (type === "null") return value === null;
  if (type === "array") return Array.isArray(value);
  if (type === "object") return isSchema(value);
  if (type === "integer") return Number.isInteger(value);
  return typeof value === type;
}
