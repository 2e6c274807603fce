/** Grammars ready to use, kept by the text of what was asked: an application sends the same schema with every request. */
import { compileGrammar } from "../../grammar/grammar.ts";
import type { Grammar, GrammarPlace } from "../engine.ts";
import type { Addon, AddonGrammar, GrammarState } from "./binding.ts";

const keptGrammars = 64;

type Unsupported = { type: "unsupported"; message: string; place: GrammarPlace | null };
export type GrammarStart = { type: "made"; state: GrammarState } | Unsupported;

export class Grammars {
  readonly #addon: Addon;
  /** The model ends by chance only, so everything is bounded. */
  readonly #short: boolean;
  /** Least recently used first. */
  readonly #kept = new Map<string, AddonGrammar>();

  constructor(addon: Addon, short: boolean) {
    this.#addon = addon;
    this.#short = short;
  }

  start(grammar: Grammar): GrammarStart {
    const key = JSON.stringify(grammar);
    const kept = this.#kept.get(key) ?? this.#compile(grammar);
    if ("type" in kept) return kept;
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > keptGrammars && oldest !== undefined) this.#kept.delete(oldest);
    return { type: "made", state: this.#addon.makeGrammarState(kept) };
  }

  #compile(grammar: Grammar): AddonGrammar | Unsupported {
    const compiled = compileGrammar(grammar, this.#short);
    if (compiled.type === "unsupported") return compiled;
    try {
      return this.#addon.makeGrammar(compiled.gbnf);
    } catch (error) {
      const message = `the grammar cannot be made: ${error instanceof Error ? error.message : String(error)}`;
      return { type: "unsupported", message, place: null };
    }
  }
}
