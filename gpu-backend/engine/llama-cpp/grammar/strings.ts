/** Grammars of JSON strings: of a length, of a pattern, of a format. */
import { type Automaton, automatonOf, jsonStringPiece, ofLength } from "./automaton.ts";
import { patternOfFormat } from "./formats.ts";
import { Languages } from "./language.ts";
import { languageOfPattern } from "./pattern.ts";
import { literal, oneCharacter, oneOf, type Piece, repeat, type Rules, sequence, UnsupportedError } from "./rules.ts";

/**
 * Characters (Unicode code points) of a JSON string, named one by one, not by what they are not: llama.cpp's decoder also gives surrogates
 * and numbers above U+10FFFF. Escapes by number are left out: halves of a surrogate pair are no text.
 */
const narrow = '[\\x20-\\x21\\x23-\\x5B\\x5D-\\x7E\\u0080-\\uD7FF\\uE000-\\uFFFF] | "\\\\" ["\\\\/bfnrt]';
const astral = "[\\U00010000-\\U0010FFFF]";
const anyOne: Piece = { ...oneCharacter(`${narrow} | ${astral}`), starts: 3, ways: 3 };
const narrowOne: Piece = { ...oneCharacter(narrow), starts: 2, ways: 2 };
/** So many leading characters may be any, though each may take one or two units; those before them take one. */
const exactLeading = 8;

/** What a schema says of a string. `undefined`: nothing. */
interface StringRules {
  least: number;
  most: number | undefined;
  pattern: string | undefined;
  format: string | undefined;
}

/** Automata of one schema together. */
const mostStates = 8_000;

/** Languages and automata, shared by all tries at one schema. */
export class Strings {
  readonly languages = new Languages();
  readonly #automata = new Map<string, Automaton>();
  #states = 0;

  /** Made once for a key. Throws an UnsupportedError. */
  automaton(key: string, make: () => Automaton): Automaton {
    let automaton = this.#automata.get(key);
    if (automaton === undefined) {
      automaton = make();
      this.#states += automaton.states.length;
      if (this.#states > mostStates) throw new UnsupportedError(`the schema's patterns need more than ${mostStates} states`);
      this.#automata.set(key, automaton);
    }
    return automaton;
  }

  /** Whether there is more to hold than a length. */
  holds({ pattern, format }: Pick<StringRules, "pattern" | "format">): boolean {
    return pattern !== undefined || (format !== undefined && patternOfFormat(format) !== undefined);
  }

  /** A string of any text with `least` characters or more, at most `limit` (a limit of ours; Infinity for none). */
  free(rules: Rules, least: number, limit: number): Piece {
    const quote = literal('"');
    return rules.rule(sequence(quote, repeat(rules.rule(anyOne), least, limit), quote));
  }

  /**
   * At least `least` code points, as JSON Schema counts them, and at most `most` UTF-16 units, as JavaScript's `length` does (zod): so every
   * client finds the length in order. A character above U+FFFF counts as one and as two.
   */
  ofLength(rules: Rules, least: number, most: number): Piece {
    const leading = Math.max(0, least - exactLeading);
    const [narrowRule, astralRule, end] = [rules.rule(narrowOne), oneCharacter(astral), literal('"')];
    const known = new Map<number, Piece>();
    const rest = (wanted: number, units: number): Piece => {
      const key = wanted * (most + 1) + units;
      const found = known.get(key);
      if (found !== undefined) return found;
      const ways = wanted === 0 ? [end] : [];
      if (units >= 1) ways.push(sequence(narrowRule, rest(Math.max(0, wanted - 1), units - 1)));
      if (units >= 2 && units - 2 >= wanted - 1) ways.push(sequence(astralRule, rest(Math.max(0, wanted - 1), units - 2)));
      const piece = rules.rule(oneOf(ways, true));
      known.set(key, piece);
      return piece;
    };
    // From the end, so that the recursion is never deep.
    for (let units = 0; units <= most - least; units += 1) rest(0, units);
    const tail = rest(least - leading, most - leading);
    return rules.rule(sequence(literal('"'), ...(leading > 0 ? [repeat(narrowRule, leading, leading)] : []), tail));
  }

  /**
   * A string that follows a pattern, a format or both; undefined when there is none. Throws an UnsupportedError. A pattern that says more
   * than the format (zod's times have no zone) stands alone. `limit`: length that is preferred for what has no bound.
   */
  matching(rules: Rules, { least, most, pattern, format }: StringRules, limit: number): Piece | undefined {
    const formatPattern = format === undefined ? undefined : patternOfFormat(format);
    const sources = [pattern, formatPattern].filter((source) => source !== undefined);
    const key = JSON.stringify([sources, least, most ?? null, limit]);
    const automaton = this.automaton(key, () => {
      const both = this.#automaton(sources, least, most, limit);
      return both.states.length === 0 && sources.length > 1 ? this.#automaton(sources.slice(0, 1), least, most, limit) : both;
    });
    return jsonStringPiece(automaton, rules);
  }

  #automaton(sources: readonly string[], least: number, most: number | undefined, limit: number): Automaton {
    const { languages } = this;
    const whole = this.automaton(JSON.stringify(sources), () =>
      automatonOf(languages, languages.and(...sources.map((source) => languageOfPattern(source, languages)))),
    );
    const asked =
      least === 0 && most === undefined ? whole : ofLength(whole, { least, most: most ?? Infinity, narrow: most !== undefined });
    if (limit === Infinity || asked.longest < Infinity) return asked;
    return ofLength(asked, { least: 0, most: Math.max(limit, asked.shortest), narrow: false });
  }
}
