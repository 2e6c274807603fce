/**
 * Regular languages over Unicode code points, closed under "and" and "not": what lookaheads, lengths and formats together need.
 * Derivatives of regular expressions (Brzozowski 1964; Owens, Reppy, Turon 2009) make automata of them.
 *
 * Example: one digit or more that is not "0": and(loop(digits, 1, Infinity), not(zero)).
 */
import { UnsupportedError } from "./rules.ts";

/** Rising and disjoint, both ends included. */
export type Ranges = readonly (readonly [from: number, to: number])[];

export const lastCodePoint = 0x10ffff;
/** All text: no halves of surrogate pairs. */
export const anyCharacter: Ranges = [
  [0, 0xd7ff],
  [0xe000, lastCodePoint],
];

export function union(...sets: readonly Ranges[]): Ranges {
  const sorted = sets.flat().toSorted((a, b) => a[0] - b[0]);
  const out: [number, number][] = [];
  for (const [from, to] of sorted) {
    const last = out.at(-1);
    if (last !== undefined && from <= last[1] + 1) last[1] = Math.max(last[1], to);
    else out.push([from, to]);
  }
  return out;
}

export function intersection(left: Ranges, right: Ranges): Ranges {
  const out: [number, number][] = [];
  for (let i = 0, j = 0; ;) {
    const [a, b] = [left[i], right[j]];
    if (a === undefined || b === undefined) return out;
    const [from, to] = [Math.max(a[0], b[0]), Math.min(a[1], b[1])];
    if (from <= to) out.push([from, to]);
    if (a[1] < b[1]) i += 1;
    else j += 1;
  }
}

/** All text but this. */
export function complement(ranges: Ranges): Ranges {
  const out: [number, number][] = [];
  let from = 0;
  for (const [low, high] of ranges) {
    if (low > from) out.push([from, low - 1]);
    from = high + 1;
  }
  if (from <= lastCodePoint) out.push([from, lastCodePoint]);
  return intersection(out, anyCharacter);
}

/** A language; equal ones made by the same `Languages` are the same object where that is easy to see. */
export type Language = { readonly id: number; readonly nullable: boolean } & (
  | { kind: "characters"; ranges: Ranges }
  | { kind: "empty" }
  | { kind: "sequence"; first: Language; rest: Language }
  | { kind: "or" | "and"; members: readonly Language[] }
  | { kind: "loop"; body: Language; least: number; most: number }
  | { kind: "not"; body: Language }
  /** Decimal digits of a number that leaves no remainder, when `read` is what came before, modulo. */
  | { kind: "multiple"; of: number; read: number }
);

type Shape = Language extends infer One ? (One extends Language ? Omit<One, "id" | "nullable"> : never) : never;

/** Bounds of what one schema may cost: languages made, and derivatives taken. */
const mostLanguages = 12_000;
const mostDerivatives = 30_000;

export class Languages {
  readonly #known = new Map<string, Language>();
  readonly #derivatives = new Map<number, Language>();
  readonly nothing = this.characters([]);
  readonly empty = this.#make("e", { kind: "empty" }, true);
  readonly anything = this.loop(this.characters(anyCharacter), 0, Infinity);

  characters(ranges: Ranges): Language {
    return this.#make(`c${ranges.join(";")}`, { kind: "characters", ranges }, false);
  }

  text(text: string): Language {
    return this.sequence(...Array.from(text, (one) => this.characters([[one.codePointAt(0) ?? 0, one.codePointAt(0) ?? 0]])));
  }

  sequence(...parts: readonly Language[]): Language {
    return parts.reduceRight((rest, first) => this.#pair(first, rest), this.empty);
  }

  or(...members: readonly Language[]): Language {
    const flat = members.flatMap((member) => (member.kind === "or" ? member.members : [member])).filter((one) => one !== this.nothing);
    if (flat.includes(this.anything)) return this.anything;
    return this.#set("or", flat, this.nothing);
  }

  and(...members: readonly Language[]): Language {
    const flat = members.flatMap((member) => (member.kind === "and" ? member.members : [member])).filter((one) => one !== this.anything);
    if (flat.includes(this.nothing)) return this.nothing;
    return this.#set("and", flat, this.anything);
  }

  not(body: Language): Language {
    if (body.kind === "not") return body.body;
    if (body === this.nothing) return this.anything;
    if (body === this.anything) return this.nothing;
    return this.#make(`n${body.id}`, { kind: "not", body }, !body.nullable);
  }

  /** `most` may be Infinity. */
  loop(body: Language, least: number, most: number): Language {
    if (most <= 0 || body === this.empty) return this.empty;
    if (body === this.nothing) return least === 0 ? this.empty : this.nothing;
    if (least === 1 && most === 1) return body;
    if (body.kind === "loop" && body.least === 0 && body.most === Infinity && most === Infinity) return body;
    return this.#make(`l${body.id},${least},${most}`, { kind: "loop", body, least, most }, least === 0 || body.nullable);
  }

  multiple(of: number, read = 0): Language {
    return this.#make(`m${of},${read}`, { kind: "multiple", of, read }, read === 0);
  }

  /** What may follow `character`. */
  derivative(language: Language, character: number): Language {
    const key = language.id * 0x200000 + character;
    let found = this.#derivatives.get(key);
    if (found === undefined) {
      if (this.#derivatives.size >= mostDerivatives) throw new UnsupportedError("the schema's patterns are too complex");
      this.#derivatives.set(key, (found = this.#derive(language, character)));
    }
    return found;
  }

  #derive(language: Language, character: number): Language {
    const of = (member: Language) => this.derivative(member, character);
    switch (language.kind) {
      case "empty":
        return this.nothing;
      case "characters":
        return language.ranges.some(([from, to]) => from <= character && character <= to) ? this.empty : this.nothing;
      case "sequence": {
        const begun = this.#pair(of(language.first), language.rest);
        return language.first.nullable ? this.or(begun, of(language.rest)) : begun;
      }
      case "or":
        return this.or(...language.members.map(of));
      case "and":
        return this.and(...language.members.map(of));
      case "not":
        return this.not(of(language.body));
      case "loop":
        return this.#pair(of(language.body), this.loop(language.body, Math.max(0, language.least - 1), language.most - 1));
      case "multiple":
        return this.multiple(language.of, (language.read * 10 + character - 0x30) % language.of);
    }
  }

  #pair(first: Language, rest: Language): Language {
    if (first === this.nothing || rest === this.nothing) return this.nothing;
    if (first === this.empty) return rest;
    if (rest === this.empty) return first;
    // To the right, so that equal languages get equal shapes.
    if (first.kind === "sequence") return this.#pair(first.first, this.#pair(first.rest, rest));
    return this.#make(`s${first.id},${rest.id}`, { kind: "sequence", first, rest }, first.nullable && rest.nullable);
  }

  #set(kind: "or" | "and", flat: readonly Language[], none: Language): Language {
    const members = [...new Set(flat)].toSorted((a, b) => a.id - b.id);
    const [only] = members;
    if (only === undefined) return none;
    if (members.length === 1) return only;
    const nullable = kind === "or" ? members.some((member) => member.nullable) : members.every((member) => member.nullable);
    return this.#make(`${kind === "or" ? "o" : "a"}${members.map(({ id }) => id).join(",")}`, { kind, members }, nullable);
  }

  #make(key: string, shape: Shape, nullable: boolean): Language {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    if (this.#known.size >= mostLanguages) throw new UnsupportedError("the schema's patterns are too complex");
    const made: Language = { ...shape, id: this.#known.size, nullable };
    this.#known.set(key, made);
    return made;
  }
}
