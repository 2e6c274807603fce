/** ECMAScript's regular expressions, read as far as they are regular. */
import { anyCharacter, complement, intersection, lastCodePoint, type Ranges, union } from "./language.ts";
import { UnsupportedError } from "./rules.ts";

export type PatternNode =
  | { kind: "characters"; ranges: Ranges }
  | { kind: "sequence" | "choice"; parts: readonly PatternNode[] }
  | { kind: "repeat"; body: PatternNode; least: number; most: number }
  | { kind: "start" | "end" }
  | { kind: "ahead"; body: PatternNode; holds: boolean };

const longestPattern = 4_096;
const deepestGroup = 64;

const digit: Ranges = [[0x30, 0x39]];
const word: Ranges = [
  [0x30, 0x39],
  [0x41, 0x5a],
  [0x5f, 0x5f],
  [0x61, 0x7a],
];
const space: Ranges = [
  [0x09, 0x0d],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
];
const lineEnds: Ranges = [
  [0x0a, 0x0a],
  [0x0d, 0x0d],
  [0x2028, 0x2029],
];
const classes: Readonly<Record<string, Ranges>> = {
  d: digit,
  D: complement(digit),
  w: word,
  W: complement(word),
  s: space,
  S: complement(space),
};
const controls: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13, 0: 0 };
/** General categories, and the two properties that patterns use. Each is looked up once. */
const properties =
  /^(?:(?:General_Category|gc)=)?(?:L[ulmto]?|M[nce]?|N[dlo]?|P[cdseifo]?|S[mcko]?|Z[slp]?|Letter|Number|Punctuation|Symbol|Mark|Separator|Uppercase_Letter|Lowercase_Letter|Decimal_Number|Alphabetic|White_Space|Uppercase|Lowercase)$/;
const propertyRanges = new Map<string, Ranges>();

function rangesOfProperty(name: string): Ranges {
  if (!properties.test(name)) throw new UnsupportedError(`\\p{${name.slice(0, 40)}} is not supported in a pattern`);
  let ranges = propertyRanges.get(name);
  if (ranges === undefined) {
    const found: [number, number][] = [];
    const matcher = new RegExp(`\\p{${name}}+`, "gu");
    // In pieces, each a row of neighbours, so that a match is a range.
    for (const [from, to] of anyCharacter) {
      for (let start = from; start <= to; start += 0x4000) {
        const end = Math.min(to, start + 0x3fff);
        const text = String.fromCodePoint(...Array.from({ length: end - start + 1 }, (_, i) => start + i));
        for (const match of text.matchAll(matcher)) {
          const low = text.codePointAt(match.index) ?? 0;
          found.push([low, low + Array.from(match[0]).length - 1]);
        }
      }
    }
    propertyRanges.set(name, (ranges = union(found)));
  }
  return ranges;
}

export class PatternParser {
  readonly #text: readonly string[];
  #at = 0;

  constructor(pattern: string) {
    if (pattern.length > longestPattern) throw new UnsupportedError(`a pattern of more than ${longestPattern} characters is not supported`);
    this.#text = Array.from(pattern);
  }

  /** Throws an UnsupportedError that says why not. */
  parse(): PatternNode {
    const node = this.#choice(0);
    if (this.#at < this.#text.length) throw new UnsupportedError(`unexpected '${this.#peek()}' in the pattern`);
    return node;
  }

  #peek(ahead = 0): string {
    return this.#text[this.#at + ahead] ?? "";
  }

  #take(): string {
    this.#at += 1;
    return this.#text[this.#at - 1] ?? "";
  }

  #skip(text: string): boolean {
    const all = Array.from(text);
    if (!all.every((one, i) => this.#peek(i) === one)) return false;
    this.#at += all.length;
    return true;
  }

  #choice(depth: number): PatternNode {
    if (depth > deepestGroup) throw new UnsupportedError("groups are nested too deep in the pattern");
    const parts = [this.#sequence(depth)];
    while (this.#skip("|")) parts.push(this.#sequence(depth));
    const [only] = parts;
    return only !== undefined && parts.length === 1 ? only : { kind: "choice", parts };
  }

  #sequence(depth: number): PatternNode {
    const parts: PatternNode[] = [];
    while (this.#at < this.#text.length && this.#peek() !== "|" && this.#peek() !== ")") parts.push(this.#quantified(this.#atom(depth)));
    return { kind: "sequence", parts };
  }

  #atom(depth: number): PatternNode {
    const one = this.#take();
    if (one === "^") return { kind: "start" };
    if (one === "$") return { kind: "end" };
    if (one === ".") return { kind: "characters", ranges: complement(lineEnds) };
    if (one === "(") return this.#group(depth);
    if (one === "[") return { kind: "characters", ranges: this.#class() };
    if (one === "\\") return this.#escape();
    return characters([codeOf(one)]);
  }

  #group(depth: number): PatternNode {
    const ahead = this.#skip("?=") ? true : this.#skip("?!") ? false : null;
    if (ahead === null && this.#skip("?") && !this.#skip(":") && !this.#name()) {
      throw new UnsupportedError("lookbehind and flags are not supported in a pattern");
    }
    const body = this.#choice(depth + 1);
    if (!this.#skip(")")) throw new UnsupportedError("a group does not end in the pattern");
    return ahead === null ? body : { kind: "ahead", body, holds: ahead };
  }

  /** `<name>`. */
  #name(): boolean {
    if (this.#peek() !== "<" || this.#peek(1) === "=" || this.#peek(1) === "!") return false;
    while (this.#at < this.#text.length) if (this.#take() === ">") return true;
    return false;
  }

  #quantified(body: PatternNode): PatternNode {
    const range = this.#range();
    if (range === null) return body;
    const [least, most] = range;
    if (most < least) throw new UnsupportedError("a repetition is out of order in the pattern");
    // Lazy or not, the same texts match.
    this.#skip("?");
    if (body.kind === "start" || body.kind === "end") throw new UnsupportedError("an anchor is repeated in the pattern");
    return this.#quantified({ kind: "repeat", body, least, most });
  }

  #range(): [number, number] | null {
    if (this.#skip("*")) return [0, Infinity];
    if (this.#skip("+")) return [1, Infinity];
    if (this.#skip("?")) return [0, 1];
    if (this.#peek() !== "{") return null;
    const close = this.#text.indexOf("}", this.#at);
    const found = /^\{(\d{1,6})(?:(,)(\d{0,6}))?\}$/.exec(this.#text.slice(this.#at, close + 1).join(""));
    if (found === null) return null;
    this.#at = close + 1;
    const least = Number(found[1]);
    if (found[2] === undefined) return [least, least];
    return [least, found[3] === "" ? Infinity : Number(found[3])];
  }

  #escape(): PatternNode {
    const one = this.#take();
    const known = Object.hasOwn(classes, one) ? classes[one] : undefined;
    if (known !== undefined) return { kind: "characters", ranges: known };
    if (one === "p" || one === "P") return { kind: "characters", ranges: this.#property(one === "P") };
    if (one === "b" || one === "B") throw new UnsupportedError("word boundaries are not supported in a pattern");
    if (one === "k" || /[1-9]/.test(one)) throw new UnsupportedError("back references are not supported in a pattern");
    return characters([this.#code(one)]);
  }

  #property(negated: boolean): Ranges {
    if (!this.#skip("{")) throw new UnsupportedError("\\p needs a name in braces in a pattern");
    let name = "";
    while (this.#at < this.#text.length && this.#peek() !== "}") name += this.#take();
    this.#take();
    const ranges = rangesOfProperty(name);
    return negated ? complement(ranges) : ranges;
  }

  /** The character that an escape stands for; `one` is what follows the backslash. */
  #code(one: string): number {
    if (one === "") throw new UnsupportedError("the pattern ends with a backslash");
    const control = Object.hasOwn(controls, one) ? controls[one] : undefined;
    if (control !== undefined) return control;
    if (one === "c" && /[A-Za-z]/.test(this.#peek())) return codeOf(this.#take()) % 32;
    if (one === "x") return this.#hex(2, one);
    if (one === "u" && this.#peek() === "{") {
      const close = this.#text.indexOf("}", this.#at);
      const code = Number.parseInt(this.#text.slice(this.#at + 1, close).join(""), 16);
      if (!(code <= lastCodePoint)) throw new UnsupportedError("\\u names no character in the pattern");
      this.#at = close + 1;
      return code;
    }
    if (one !== "u") {
      // Other letters mean something else to every other dialect.
      if (/[A-Za-z]/.test(one)) throw new UnsupportedError(`\\${one} is not supported in a pattern`);
      return codeOf(one);
    }
    const high = this.#hex(4, one);
    const isHigh = high >= 0xd800 && high < 0xdc00 && this.#peek() === "\\" && this.#peek(1) === "u";
    if (!isHigh) return high;
    this.#at += 2;
    return 0x10000 + ((high - 0xd800) << 10) + (this.#hex(4, one) - 0xdc00);
  }

  #hex(length: number, otherwise: string): number {
    const text = this.#text.slice(this.#at, this.#at + length).join("");
    if (!/^[0-9A-Fa-f]+$/.test(text) || text.length < length) return codeOf(otherwise);
    this.#at += length;
    return Number.parseInt(text, 16);
  }

  #class(): Ranges {
    const negated = this.#skip("^");
    const sets: Ranges[] = [];
    while (this.#peek() !== "]") {
      if (this.#at >= this.#text.length) throw new UnsupportedError("a class does not end in the pattern");
      const low = this.#member();
      const isRange = typeof low === "number" && this.#peek() === "-" && this.#peek(1) !== "]" && this.#peek(1) !== "";
      if (!isRange) {
        sets.push(typeof low === "number" ? [[low, low]] : low);
        continue;
      }
      this.#take();
      const high = this.#member();
      if (typeof high !== "number") sets.push([[low, low]], [[0x2d, 0x2d]], high);
      else if (high < low) throw new UnsupportedError("a range of characters is out of order in the pattern");
      else sets.push([[low, high]]);
    }
    this.#take();
    const ranges = intersection(union(...sets), anyCharacter);
    return negated ? complement(ranges) : ranges;
  }

  /** A character, or a class inside the class. */
  #member(): number | Ranges {
    const one = this.#take();
    if (one !== "\\") return codeOf(one);
    const escape = this.#take();
    const known = Object.hasOwn(classes, escape) ? classes[escape] : undefined;
    if (known !== undefined) return known;
    if (escape === "p" || escape === "P") return this.#property(escape === "P");
    return escape === "b" ? 8 : this.#code(escape);
  }
}

const codeOf = (one: string): number => one.codePointAt(0) ?? 0;
const characters = (codes: readonly number[]): PatternNode => ({ kind: "characters", ranges: codes.map((code) => [code, code] as const) });
