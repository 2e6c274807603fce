/** A grammar in GBNF under construction. Equal rules are one, and every piece knows its longest text and how many ways llama.cpp follows at once. */

/** Part of a grammar that can stand in a sequence. */
export interface Piece {
  gbnf: string;
  /** Characters of the longest text it matches. */
  longest: number;
  /** Ways that llama.cpp has to follow side by side at its beginning, and at most anywhere in it; its time for a token grows with them. */
  starts: number;
  ways: number;
  /** Matches the empty text too. */
  nullable: boolean;
}

/** Thrown inside the compiler only: what cannot be made, and where in the schema (a JSON pointer that begins with #). */
export class UnsupportedError extends Error {
  readonly pointer: string | null;

  constructor(message: string, pointer: string | null = null) {
    super(pointer === null ? message : `${pointer}: ${message}`);
    this.pointer = pointer;
  }
}

/** Bytes of GBNF, with repetitions as llama.cpp spells them out. */
const largestGrammar = 300_000;
/** llama.cpp spells every repetition out; this is about one's size. */
const repetitionSize = 8;
/** With more, a token's check takes a large vocabulary tenths of a second. */
const mostWays = 512;

function sizeOf(gbnf: string): number {
  if (!gbnf.includes("{")) return gbnf.length;
  const repetitions = [...gbnf.matchAll(/\{(\d+),(\d*)\}/g)];
  return gbnf.length + repetitions.reduce((sum, [, least, most]) => sum + Math.max(Number(least), Number(most)) * repetitionSize, 0);
}

export const nothing: Piece = { gbnf: '""', longest: 0, starts: 1, ways: 1, nullable: true };

function quote(text: string): string {
  const quoted = text.replace(/["\\]/g, "\\$&").replace(/\p{Cc}/gu, (control) => {
    return `\\u${(control.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`;
  });
  return `"${quoted}"`;
}

export function literal(text: string): Piece {
  return { gbnf: quote(text), longest: text.length, starts: 1, ways: 1, nullable: text === "" };
}

/** One character of a class that is written as in GBNF. */
export function oneCharacter(gbnf: string, longest = 1): Piece {
  return { gbnf, longest, starts: 1, ways: 1, nullable: false };
}

export function sequence(...pieces: readonly Piece[]): Piece {
  // From the end: what may begin behind a piece is open beside its own ways.
  let [starts, ways] = [0, 1];
  for (const piece of pieces.toReversed()) {
    ways = Math.max(ways, piece.ways + starts);
    starts = piece.nullable ? piece.starts + starts : piece.starts;
  }
  return {
    gbnf: pieces.map((piece) => piece.gbnf).join(" "),
    longest: pieces.reduce((sum, piece) => sum + piece.longest, 0),
    starts: Math.max(1, starts),
    ways: checkWays(ways),
    nullable: pieces.every((piece) => piece.nullable),
  };
}

/** `exclusive`: the alternatives differ in their first characters, before any of them branches. */
export function oneOf(pieces: readonly Piece[], exclusive = false): Piece {
  const different = [...new Map(pieces.map((piece) => [piece.gbnf, piece])).values()];
  const [only] = different;
  if (only !== undefined && different.length === 1) return only;
  const starts = different.reduce((sum, piece) => sum + piece.starts, 0);
  const together = different.reduce((sum, piece) => sum + piece.ways, 0);
  return {
    gbnf: `(${different.map((piece) => piece.gbnf).join(" | ")})`,
    longest: different.reduce((most, piece) => Math.max(most, piece.longest), 0),
    starts,
    ways: checkWays(exclusive ? different.reduce((most, piece) => Math.max(most, piece.ways), starts) : together),
    nullable: different.some((piece) => piece.nullable),
  };
}

/** `most` may be Infinity. */
export function repeat(piece: Piece, least: number, most: number): Piece {
  if (most <= 0) return nothing;
  const times = most === Infinity ? `{${least},}` : `{${least},${most}}`;
  return {
    gbnf: `(${piece.gbnf})${times}`,
    longest: piece.longest === 0 ? 0 : piece.longest * most,
    starts: piece.starts,
    ways: checkWays(piece.ways + piece.starts),
    nullable: least === 0 || piece.nullable,
  };
}

function checkWays(ways: number): number {
  if (ways > mostWays) throw new UnsupportedError(`more than ${mostWays} alternatives at one place are not supported`);
  return ways;
}

/** Texts, each with what follows it; the end of a text decides nothing. */
export type Branch = readonly [text: string, then: Piece];

/** One of the branches, as a tree of their common beginnings: llama.cpp then has one way to go after each character. */
export function oneOfTexts(branches: readonly Branch[]): Piece {
  const sorted = [...new Map(branches).entries()].map(([text, then]) => [Array.from(text), then] as const);
  sorted.sort(([left], [right]) => (left.join("\0") < right.join("\0") ? -1 : 1));
  return tree(sorted, 0);
}

function tree(branches: readonly (readonly [text: readonly string[], then: Piece])[], from: number): Piece {
  const [first, last] = [branches[0], branches.at(-1)];
  if (first === undefined || last === undefined) return nothing;
  // Sorted, so what the first and the last share, all share.
  let to = from;
  while (to < first[0].length && first[0][to] === last[0][to]) to += 1;
  const shared = first[0].slice(from, to).join("");
  const children: Piece[] = [];
  for (let start = 0; start < branches.length;) {
    const letter = branches[start]?.[0][to];
    let end = start + 1;
    while (end < branches.length && branches[end]?.[0][to] === letter) end += 1;
    const [only] = branches.slice(start, end);
    if (only !== undefined && end === start + 1) children.push(sequence(literal(only[0].slice(to).join("")), only[1]));
    else children.push(tree(branches.slice(start, end), to));
    start = end;
  }
  const ways = children.map(({ gbnf }) => gbnf).join(" | ");
  return {
    gbnf: [...(shared === "" ? [] : [quote(shared)]), children.length === 1 ? ways : `(${ways})`].join(" "),
    longest: shared.length + children.reduce((most, child) => Math.max(most, child.longest), 0),
    starts: shared === "" ? children.length : 1,
    // One of them goes on behind the first character.
    ways: checkWays(children.reduce((most, child) => Math.max(most, child.ways), children.length)),
    nullable: shared === "" && children.some((child) => child.nullable),
  };
}

export class Rules {
  readonly #names = new Map<string, string>();
  readonly #bodies: string[] = [];
  #size = 0;

  /** The piece as a rule of its own. */
  rule(piece: Piece): Piece {
    let name = this.#names.get(piece.gbnf);
    if (name === undefined) {
      name = this.reserve();
      this.#names.set(piece.gbnf, name);
      this.define(name, piece.gbnf);
    }
    return { ...piece, gbnf: name };
  }

  /** The name of a rule that is defined later, so that rules can name each other. */
  reserve(): string {
    this.#bodies.push("");
    return `r${this.#bodies.length - 1}`;
  }

  define(name: string, gbnf: string): void {
    this.#bodies[Number(name.slice(1))] = gbnf;
    this.#size += sizeOf(gbnf) + name.length;
    if (this.#size > largestGrammar)
      throw new UnsupportedError(`the schema is too large: its grammar has more than ${largestGrammar} bytes`);
  }

  /** The whole grammar. */
  text(root: Piece): string {
    return [`root ::= ${root.gbnf}`, ...this.#bodies.map((gbnf, index) => `r${index} ::= ${gbnf}`)].join("\n") + "\n";
  }
}
