/** Grammars as llama.cpp has read them, kept by their text. */
import type { Addon, AddonGrammar, GrammarState } from "./binding.ts";

const keptGrammars = 64;

type GrammarStart = { type: "made"; state: GrammarState } | { type: "unreadable"; message: string };

export class Grammars {
  readonly #addon: Addon;
  /** Least recently used first. */
  readonly #kept = new Map<string, AddonGrammar>();

  constructor(addon: Addon) {
    this.#addon = addon;
  }

  start(gbnf: string): GrammarStart {
    try {
      const grammar = this.#kept.get(gbnf) ?? this.#addon.makeGrammar(gbnf);
      this.#kept.delete(gbnf);
      this.#kept.set(gbnf, grammar);
      const [oldest] = this.#kept.keys();
      if (this.#kept.size > keptGrammars && oldest !== undefined) this.#kept.delete(oldest);
      return { type: "made", state: this.#addon.makeGrammarState(grammar) };
    } catch (error) {
      return { type: "unreadable", message: `the grammar cannot be made: ${error instanceof Error ? error.message : String(error)}` };
    }
  }
}
