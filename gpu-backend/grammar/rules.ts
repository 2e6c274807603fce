/** A grammar in GBNF under construction. Equal rules are one, and every piece knows how long its longest text is. */

/** Part of a grammar that can stand in a sequence. */
export interface Piece {
  gbnf: string;
  /** Characters of the longest text it matches. */
  longest: number;
}

/** Thrown inside the compiler only: what cannot be made, and where in the schema. */
export class UnsupportedError extends Error {}

const largestGrammar = 250_000;
/** llama.cpp spells every repetition out; this is about one's size. */
const repetitionSize = 8;

function sizeOf(gbnf: string): number {
  const repetitions = [...gbnf.matchAll(/\{(\d+),(\d*)\}/g)];
  return gbnf.length + repetitions.reduce((sum, [, least, most]) => sum + Math.max(Number(least), Number(most)) * repetitionSize, 0);
}

export function literal(text: string): Piece {
  const quoted = text.replace(/["\\]/g, "\\$&").replace(/\p{Cc}/gu, (control) => {
    return `\\u${(control.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`;
  });
  return { gbnf: `"${quoted}"`, longest: text.length };
}

export function sequence(...pieces: readonly Piece[]): Piece {
  return {
    gbnf: pieces.map((piece) => piece.gbnf).join(" "),
    longest: pieces.reduce((sum, piece) => sum + piece.longest, 0),
  };
}

export function oneOf(pieces: readonly Piece[]): Piece {
  const [only] = pieces;
  if (only !== undefined && pieces.length === 1) return only;
  return {
    gbnf: `(${[...new Set(pieces.map((piece) => piece.gbnf))].join(" | ")})`,
    longest: Math.max(...pieces.map((piece) => piece.longest)),
  };
}

/** `most` may be Infinity. */
export function repeat(piece: Piece, least: number, most: number): Piece {
  if (most <= 0) return { gbnf: '""', longest: 0 };
  const times = most === Infinity ? `{${least},}` : `{${least},${most}}`;
  return { gbnf: `(${piece.gbnf})${times}`, longest: piece.longest * most };
}

export class Rules {
  readonly #names = new Map<string, string>();
  #size = 0;

  /** The piece as a rule of its own. */
  rule(piece: Piece): Piece {
    let name = this.#names.get(piece.gbnf);
    if (name === undefined) {
      name = `r${this.#names.size}`;
      this.#names.set(piece.gbnf, name);
      this.#size += sizeOf(piece.gbnf);
      if (this.#size > largestGrammar) throw new UnsupportedError("the schema is too large");
    }
    return { gbnf: name, longest: piece.longest };
  }

  /** The whole grammar. */
  text(root: Piece): string {
    return [`root ::= ${root.gbnf}`, ...Array.from(this.#names, ([gbnf, name]) => `${name} ::= ${gbnf}`)].join("\n") + "\n";
  }
}
