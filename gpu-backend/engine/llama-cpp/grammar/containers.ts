/** Arrays, and the members of objects. */
import { literal, nothing, oneOf, type Piece, repeat, type Rules, sequence } from "./rules.ts";

/** `most` may be Infinity. */
export function listOf(rules: Rules, item: Piece, least: number, most: number): Piece {
  if (most === 0) return literal("[]");
  // A rule, because llama.cpp limits repetitions times what they repeat.
  const next = rules.rule(sequence(literal(","), item));
  const full = sequence(item, repeat(next, Math.max(0, least - 1), most - 1));
  return rules.rule(sequence(literal("["), least === 0 ? repeat(full, 0, 1) : full, literal("]")));
}

export interface Member {
  /** Name, colon and value. */
  pair: Piece;
  optional: boolean;
}

/** Members in order. A comma stands before each but the first that is there. */
export function membersOf(rules: Rules, pairs: readonly Member[]): Piece {
  let rest = nothing;
  let start = nothing;
  for (const { pair, optional } of pairs.toReversed()) {
    const first = sequence(pair, rest);
    // Names tell them apart before any value branches.
    start = rules.rule(optional ? oneOf([first, start], true) : first);
    const next = sequence(literal(","), pair);
    rest = rules.rule(sequence(optional ? repeat(next, 0, 1) : next, rest));
  }
  return start;
}
