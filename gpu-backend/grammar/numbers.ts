/** Grammars of JSON numbers between bounds. */
import { literal, oneOf, repeat, sequence } from "./rules.ts";
import type { Piece } from "./rules.ts";

const digit = (from: number, to: number): Piece => ({ gbnf: from === to ? `"${from}"` : `[${from}-${to}]`, longest: 1 });
const digits = (count: number): Piece => repeat(digit(0, 9), count, count);

/** Decimal strings of one length from `low` to `high`. */
function sameLength(low: string, high: string): Piece[] {
  if (low === "") return [{ gbnf: '""', longest: 0 }];
  const [first, last] = [Number(low[0]), Number(high[0])];
  const rest = low.length - 1;
  const nines = "9".repeat(rest);
  const zeros = "0".repeat(rest);
  if (low.slice(1) === zeros && high.slice(1) === nines) return [sequence(digit(first, last), digits(rest))];
  if (first === last) return sameLength(low.slice(1), high.slice(1)).map((piece) => sequence(digit(first, first), piece));
  const lowest = sameLength(low.slice(1), nines).map((piece) => sequence(digit(first, first), piece));
  const highest = sameLength(zeros, high.slice(1)).map((piece) => sequence(digit(last, last), piece));
  const between = last - first > 1 ? [sequence(digit(first + 1, last - 1), digits(rest))] : [];
  return [...lowest, ...between, ...highest];
}

/** Whole numbers from `low` to `high`, neither negative. */
function naturals(low: number, high: number): Piece[] {
  const found: Piece[] = [];
  for (let from = low; from <= high;) {
    const length = String(from).length;
    const to = Math.min(high, 10 ** length - 1);
    found.push(...sameLength(String(from), String(to)));
    from = to + 1;
  }
  return found;
}

/** Whole numbers from `low` to `high`, both safe integers; undefined when there are none. */
export function integersBetween(low: number, high: number): Piece | undefined {
  if (low > high) return undefined;
  const negative = low < 0 ? naturals(Math.max(1, -high), -low).map((piece) => sequence(literal("-"), piece)) : [];
  const positive = high >= 0 ? naturals(Math.max(0, low), high) : [];
  return oneOf([...negative, ...positive]);
}

export interface NumberBounds {
  least: number;
  /** `least` itself is not allowed. */
  openLeast: boolean;
  most: number;
  openMost: boolean;
}

/** The whole numbers within bounds. */
export function wholeBounds({ least, openLeast, most, openMost }: NumberBounds): [number, number] {
  const low = Math.ceil(least);
  const high = Math.floor(most);
  return [openLeast && low === least ? low + 1 : low, openMost && high === most ? high - 1 : high];
}

/**
 * Numbers within bounds: the whole ones, and those with a fraction whose whole neighbours on both sides are within too. So of [0.5, 2]
 * it makes 1, 2 and 1.x, and leaves the rest out; undefined when nothing is left.
 */
export function numbersBetween(bounds: NumberBounds, fraction: number): Piece | undefined {
  const whole = integersBetween(...wholeBounds(bounds));
  const low = Math.ceil(bounds.least);
  const high = Math.floor(bounds.most);
  // Ends in another digit than 0, so it is never whole and an open bound is kept.
  const tail = sequence(literal("."), repeat(digit(0, 9), 0, fraction - 1), digit(1, 9));
  const above = high > Math.max(0, low) ? integersBetween(Math.max(0, low), high - 1) : undefined;
  const below = low < Math.min(0, high) ? integersBetween(Math.max(0, -high), -low - 1) : undefined;
  const found = [
    ...(whole === undefined ? [] : [whole]),
    ...(above === undefined ? [] : [sequence(above, tail)]),
    ...(below === undefined ? [] : [sequence(literal("-"), below, tail)]),
  ];
  return found.length === 0 ? undefined : oneOf(found);
}

/** Any whole number of so many digits. */
export function anyInteger(count: number): Piece {
  return oneOf([literal("0"), sequence(repeat(literal("-"), 0, 1), digit(1, 9), repeat(digit(0, 9), 0, count - 1))]);
}

/** Any number of so many digits before and after the point. */
export function anyNumber(count: number, fraction: number): Piece {
  const whole = oneOf([literal("0"), sequence(digit(1, 9), repeat(digit(0, 9), 0, count - 1))]);
  const part = repeat(sequence(literal("."), repeat(digit(0, 9), 1, fraction)), 0, 1);
  const exponent: Piece = { gbnf: "([eE] [-+]? [0-9]{1,2})?", longest: 4 };
  return sequence(repeat(literal("-"), 0, 1), whole, part, exponent);
}
