/**
 * JSON Schema's `pattern` (an ECMAScript regular expression, found anywhere in the text unless anchored) as a language. All of the regular
 * subset: groups, classes, repetitions, anchors, lookaheads. Not: back references, lookbehind, word boundaries.
 */
import { anyCharacter, type Language, type Languages } from "./language.ts";
import { type PatternNode, PatternParser } from "./pattern-parser.ts";
import { UnsupportedError } from "./rules.ts";

/** Of a group that holds an anchor or a lookahead: those are spelled out. */
const mostSpelled = 16;

function hasAssertion(node: PatternNode): boolean {
  if (node.kind === "sequence" || node.kind === "choice") return node.parts.some(hasAssertion);
  return node.kind === "repeat" ? hasAssertion(node.body) : node.kind !== "characters";
}

class Compiler {
  readonly #languages: Languages;

  constructor(languages: Languages) {
    this.#languages = languages;
  }

  /** Texts that begin with the node and go on with `rest`. `atStart`: nothing of the text stands before. */
  compile(node: PatternNode, rest: Language, atStart: boolean): Language {
    const languages = this.#languages;
    switch (node.kind) {
      case "characters":
        return languages.sequence(languages.characters(node.ranges), rest);
      case "choice":
        return languages.or(...node.parts.map((part) => this.compile(part, rest, atStart)));
      case "sequence": {
        let start = atStart;
        const starts = node.parts.map((part) => {
          const before = start;
          start &&= part.kind === "start" || part.kind === "ahead";
          return before;
        });
        return node.parts.reduceRight((after, part, index) => this.compile(part, after, starts[index] ?? false), rest);
      }
      case "repeat":
        return this.#repeat(node, rest, atStart);
      case "start":
        return atStart ? rest : languages.nothing;
      case "end":
        return rest.nullable ? languages.empty : languages.nothing;
      case "ahead": {
        const body = this.compile(node.body, languages.anything, atStart);
        return languages.and(node.holds ? body : languages.not(body), rest);
      }
    }
  }

  #repeat(node: Extract<PatternNode, { kind: "repeat" }>, rest: Language, atStart: boolean): Language {
    const languages = this.#languages;
    const { body, least, most } = node;
    if (!hasAssertion(body)) return languages.sequence(languages.loop(this.compile(body, languages.empty, false), least, most), rest);
    if (most > mostSpelled) throw new UnsupportedError("an anchor or lookahead is repeated without a small bound in the pattern");
    let after = rest;
    for (let count = most; count > 0; count -= 1) {
      const once = this.compile(body, after, atStart && count === 1);
      after = count > least ? languages.or(once, rest) : once;
    }
    return after;
  }
}

/** Throws an UnsupportedError that says why not. */
export function languageOfPattern(pattern: string, languages: Languages): Language {
  const node = new PatternParser(pattern).parse();
  const compiler = new Compiler(languages);
  const later = compiler.compile(node, languages.anything, false);
  const somewhere = languages.sequence(languages.characters(anyCharacter), languages.anything, later);
  return languages.or(compiler.compile(node, languages.anything, true), somewhere);
}
