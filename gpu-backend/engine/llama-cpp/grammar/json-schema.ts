/**
 * JSON Schema as a grammar of compact JSON: properties in the schema's order, no white space, objects closed. Everything it matches is
 * valid; not everything valid is matched. `undefined` stands for a schema that nothing can match within the limits.
 */
import { clip } from "../../../../src/wire/check.ts";
import { listOf, type Member, membersOf } from "./containers.ts";
import { bindingBeside, countOf, isSchema, refuse, segment, typeKeywords, unheld, type Schema } from "./keywords.ts";
import { largestRepeat, type GrammarLimits } from "./limits.ts";
import { merge } from "./merge.ts";
import { boundedNumber } from "./number-schema.ts";
import { anyNumber } from "./numbers.ts";
import { References } from "./references.ts";
import { type Branch, literal, nothing, oneOf, oneOfTexts, repeat, Rules, sequence, UnsupportedError, type Piece } from "./rules.ts";
import type { Strings } from "./strings.ts";

type Match = Piece | undefined;
const deepest = 64;
const types = ["object", "array", "string", "number", "integer", "boolean", "null"] as const;
type Type = (typeof types)[number];

/** A value of the schema in a message. */
const shown = (value: unknown): string => clip(JSON.stringify(value));

const some = (matches: readonly Match[], exclusive = false): Match => {
  const possible = matches.filter((match) => match !== undefined);
  return possible.length === 0 ? undefined : oneOf(possible, exclusive);
};

/** Where a schema stands: its path, how deep, and how many recursive references led there. */
interface Place {
  path: string;
  depth: number;
  recursion: number;
  /** Of values of all other types nothing is matched. */
  only?: Type;
}

const inside = ({ path, depth, recursion }: Place, name: string): Place => ({ path: `${path}/${name}`, depth: depth + 1, recursion });
const deeper = (place: Place, path = place.path): Place => ({ ...place, path, depth: place.depth + 1 });

interface SchemaCompilerParts {
  rules: Rules;
  limits: GrammarLimits;
  strings: Strings;
  /** What can't be held is refused; else it alone is left out. */
  strict: boolean;
}

export class SchemaCompiler {
  readonly #rules: Rules;
  readonly #limits: GrammarLimits;
  readonly #strings: Strings;
  readonly #strict: boolean;
  readonly #references: References;
  readonly #done = new Map<string, Match>();
  readonly #values = new Map<number, Piece>();

  constructor(root: unknown, { rules, limits, strings, strict }: SchemaCompilerParts) {
    this.#rules = rules;
    this.#limits = limits;
    this.#strings = strings;
    this.#strict = strict;
    this.#references = new References(root);
  }

  /** Throws an UnsupportedError that says where. `only`: values of that type. */
  root(schema: unknown, only?: Type): Match {
    return this.#any(schema, { path: "#", depth: 0, recursion: 0, ...(only === undefined ? {} : { only }) });
  }

  /** Any JSON value, with `depth` arrays or objects inside each other. */
  anyValue(depth: number): Piece {
    const known = this.#values.get(depth);
    if (known !== undefined) return known;
    const text = this.#strings.free(this.#rules, 0, this.#limits.string);
    const plain = [text, this.#number(), literal("true"), literal("false"), literal("null")];
    const nested = depth > 0 ? [this.anyObject(depth), listOf(this.#rules, this.anyValue(depth - 1), 0, this.#limits.items)] : [];
    // Their first characters tell them apart.
    const value = this.#rules.rule(oneOf([...plain, ...nested], true));
    this.#values.set(depth, value);
    return value;
  }

  anyObject(depth: number): Piece {
    return this.#map(this.anyValue(depth - 1));
  }

  /** A keyword that can't be held: the end, or nothing, as the caller has it. */
  #leaveOut(pointer: string, what = "this keyword is not supported"): void {
    if (this.#strict) refuse(pointer, what);
  }

  #any(schema: unknown, place: Place): Match {
    if (place.depth > deepest) return refuse(place.path, "nested too deep");
    if (schema === true) return place.only === "object" ? this.anyObject(this.#limits.depth) : this.anyValue(this.#limits.depth);
    if (schema === false) return undefined;
    if (!isSchema(schema)) return refuse(place.path, "must be a schema");
    for (const keyword of unheld(schema)) this.#leaveOut(`${place.path}/${keyword}`);
    if (schema["$ref"] !== undefined) return this.#reference(schema, place);
    if (schema["allOf"] !== undefined) return this.#all(schema, place);
    for (const keyword of ["anyOf", "oneOf"] as const) {
      if (schema[keyword] !== undefined) return this.#either(schema, keyword, place);
    }
    if (schema["const"] !== undefined || schema["enum"] !== undefined) return this.#choice(schema, place);
    const wanted = this.#typesOf(schema, place).filter((type) => place.only === undefined || place.only === type);
    const exclusive = !(wanted.includes("integer") && wanted.includes("number"));
    const matches = wanted.map((type) => this.#typed(schema, type, place));
    return some(matches, exclusive);
  }

  #reference(schema: Schema, place: Place): Match {
    const pointer = `${place.path}/$ref`;
    const found = this.#references.find(schema["$ref"], pointer);
    if (found === undefined) {
      this.#leaveOut(pointer, `${shown(schema["$ref"])} names nothing in this schema`);
      const { $ref: _, ...rest } = schema;
      return this.#any(Object.keys(rest).length === 0 ? true : rest, deeper(place));
    }
    const recursion = place.recursion + (found.recursive ? 1 : 0);
    if (recursion > this.#limits.recursion) return undefined;
    const beside = bindingBeside(schema, "$ref");
    if (Object.keys(beside).length > 0) return this.#any(this.#merged(found.schema, beside, place), { ...deeper(place), recursion });
    const key = `${recursion} ${place.only ?? ""} ${found.pointer}`;
    if (this.#done.has(key)) return this.#done.get(key);
    const match = this.#any(found.schema, { ...deeper(place, found.pointer), recursion });
    const made = match === undefined ? undefined : this.#rules.rule(match);
    this.#done.set(key, made);
    return made;
  }

  /** References are followed first: what they name can then be merged. */
  #merged(first: unknown, second: unknown, place: Place): unknown {
    const [left, right] = [this.#followed(first, place), this.#followed(second, place)];
    const { schema, conflicts } = merge(left, right);
    for (const keyword of conflicts) this.#leaveOut(`${place.path}/${keyword}`, "not supported beside another of the same name");
    return schema;
  }

  /** A schema that is not, or not only, a reference. */
  #followed(schema: unknown, place: Place): unknown {
    let value = schema;
    for (let steps = 0; isSchema(value) && value["$ref"] !== undefined; steps += 1) {
      const found = steps < deepest ? this.#references.find(value["$ref"], `${place.path}/$ref`) : undefined;
      if (found === undefined) return refuse(`${place.path}/$ref`, `${shown(value["$ref"])} names nothing that can be merged`);
      const beside = bindingBeside(value, "$ref");
      value = Object.keys(beside).length === 0 ? found.schema : merge(found.schema, beside).schema;
    }
    return value;
  }

  #all(schema: Schema, place: Place): Match {
    const members = this.#membersOf(schema, "allOf", place);
    const beside = bindingBeside(schema, "allOf");
    const [only] = members;
    if (members.length === 1 && Object.keys(beside).length === 0) return this.#any(only, deeper(place, `${place.path}/allOf/0`));
    const merged = members.reduce((all, member) => this.#merged(all, member, place), beside);
    return this.#any(merged, deeper(place));
  }

  #either(schema: Schema, keyword: "anyOf" | "oneOf", place: Place): Match {
    const beside = bindingBeside(schema, keyword);
    const alone = Object.keys(beside).length === 0;
    const matches = this.#membersOf(schema, keyword, place).map((member, i) =>
      this.#any(alone ? member : this.#merged(beside, member, place), deeper(place, `${place.path}/${keyword}/${i}`)),
    );
    return some(matches);
  }

  #membersOf(schema: Schema, keyword: string, place: Place): readonly unknown[] {
    const members = schema[keyword];
    if (!Array.isArray(members) || members.length === 0) return refuse(`${place.path}/${keyword}`, "must be a list of schemas");
    return members;
  }

  #choice(schema: Schema, place: Place): Match {
    const keyword = schema["const"] === undefined ? "enum" : "const";
    const values: unknown = keyword === "const" ? [schema["const"]] : schema["enum"];
    if (!Array.isArray(values) || values.length === 0) return refuse(`${place.path}/enum`, "must be a list of values");
    for (const name of Object.keys(bindingBeside(schema, keyword))) {
      if (name !== "type" && name !== "enum") this.#leaveOut(`${place.path}/${name}`, `not supported beside ${keyword}`);
    }
    const allowed = this.#typesOf({ type: schema["type"] }, place).filter((type) => place.only === undefined || place.only === type);
    const among = keyword === "const" && Array.isArray(schema["enum"]) ? new Set(schema["enum"].map((one) => JSON.stringify(one))) : null;
    const texts = values
      .filter((value: unknown) => allowed.some((type) => isOfType(value, type)))
      .map((value: unknown) => JSON.stringify(value))
      .filter((text) => among === null || among.has(text));
    if (texts.length === 0) return undefined;
    return this.#rules.rule(oneOfTexts(texts.map((text): Branch => [text, nothing])));
  }

  #typesOf(schema: Schema, place: Place): Type[] {
    const named = schema["type"];
    const path = `${place.path}/type`;
    if (named !== undefined) {
      const list: unknown[] = Array.isArray(named) ? named : [named];
      return list.map((name) => types.find((type) => type === name) ?? refuse(path, `${shown(name)} is no type`));
    }
    // Without a type, what the keywords speak of.
    const spoken = Object.entries(typeKeywords).filter(([, keywords]) => Object.keys(schema).some((keyword) => keywords.has(keyword)));
    return spoken.length > 0 ? spoken.map(([type]) => type as keyof typeof typeKeywords) : [...types];
  }

  #typed(schema: Schema, type: Type, place: Place): Match {
    if (type === "null") return literal("null");
    if (type === "boolean") return oneOf([literal("true"), literal("false")]);
    if (type === "string") return this.#string(schema, place);
    if (type === "array") return this.#array(schema, place);
    if (type === "object") return this.#object(schema, place);
    const making = { languages: this.#strings.languages, automaton: this.#strings.automaton.bind(this.#strings) };
    const parts = { rules: this.#rules, limits: this.#limits, making };
    const match = boundedNumber(schema, type, place.path, { ...parts, leaveOut: (pointer, what) => this.#leaveOut(pointer, what) });
    return match === undefined ? undefined : this.#rules.rule(match);
  }

  /** What minX and maxX say; the upper is at most `largestRepeat`, and undefined when the schema sets none. */
  #range(schema: Schema, what: "Length" | "Items", place: Place): [least: number, most: number | undefined] {
    const least = countOf(schema, `min${what}`, place.path) ?? 0;
    const most = countOf(schema, `max${what}`, place.path);
    if (most !== undefined && least > most) return refuse(place.path, `min${what} is above max${what}`);
    if (least > largestRepeat) this.#leaveOut(`${place.path}/min${what}`, `more than ${largestRepeat} is not supported`);
    return [Math.min(least, largestRepeat), most === undefined ? undefined : Math.min(most, largestRepeat)];
  }

  #string(schema: Schema, place: Place): Match {
    const [least, most] = this.#range(schema, "Length", place);
    const text = (keyword: string): string | undefined => {
      const value = schema[keyword];
      return typeof value === "string" || value === undefined ? value : refuse(`${place.path}/${keyword}`, "must be a text");
    };
    const wanted = { least, most, pattern: text("pattern"), format: text("format") };
    // Where the pattern can't be held, the format still may.
    for (const source of [wanted, { ...wanted, pattern: undefined }]) {
      if (!this.#strings.holds(source)) continue;
      try {
        const match = this.#strings.matching(this.#rules, source, this.#limits.string);
        return match === undefined ? undefined : this.#rules.rule(match);
      } catch (error) {
        if (!(error instanceof UnsupportedError) || error.pointer !== null) throw error;
        this.#leaveOut(`${place.path}/${source.pattern === undefined ? "format" : "pattern"}`, error.message);
      }
    }
    if (most !== undefined) return this.#strings.ofLength(this.#rules, least, most);
    return this.#strings.free(this.#rules, least, Math.max(least, this.#limits.string));
  }

  #number(): Piece {
    return this.#rules.rule(anyNumber(this.#limits.digits, this.#limits.fraction));
  }

  #array(schema: Schema, place: Place): Match {
    const [least, given] = this.#range(schema, "Items", place);
    const most = given ?? Math.max(least, this.#limits.items);
    const item = this.#any(schema["items"] ?? true, inside(place, "items"));
    if (item === undefined) return least === 0 ? literal("[]") : undefined;
    return listOf(this.#rules, item, least, most);
  }

  /** An object of free names. */
  #map(value: Piece): Piece {
    const name = this.#strings.free(this.#rules, 1, this.#limits.key);
    const pair = this.#rules.rule(sequence(name, literal(":"), value));
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
    const pairs: Member[] = [];
    for (const name of names) {
      const listed = Object.hasOwn(properties, name);
      const value = listed
        ? this.#any(properties[name], inside(place, `properties/${segment(name)}`))
        : this.#any(additionalProperties ?? true, inside(place, `required/${segment(name)}`));
      if (value === undefined && needed.has(name)) return undefined;
      if (value === undefined) continue;
      pairs.push({ pair: this.#rules.rule(sequence(literal(`${JSON.stringify(name)}:`), value)), optional: !needed.has(name) });
    }
    return this.#rules.rule(sequence(literal("{"), membersOf(this.#rules, pairs), literal("}")));
  }
}

function isOfType(value: unknown, type: Type): boolean {
  if (type === "null") return value === null;
  if (type === "array") return Array.isArray(value);
  if (type === "object") return isSchema(value);
  if (type === "integer") return Number.isInteger(value);
  return typeof value === type;
}
