/** Grammars of JSON numbers between bounds. */
import { type Automaton, automatonOf, plainPiece } from "./automaton.ts";
import type { Language, Languages } from "./language.ts";
import { literal, nothing, oneCharacter, oneOf, oneOfTexts, type Piece, repeat, type Rules, sequence, UnsupportedError } from "./rules.ts";

/** What each digit of a number may be, first to last. */
type DigitRun = readonly (readonly [from: number, to: number])[];

const digit = (from: number, to: number): Piece => oneCharacter(from === to ? `"${from}"` : `[${from}-${to}]`);
const anyDigits = (count: number): DigitRun => Array.from({ length: count }, () => [0, 9] as const);

/** Decimal strings of one length from `low` to `high`. */
function sameLength(low: string, high: string): DigitRun[] {
  if (low === "") return [[]];
  const [first, last] = [Number(low[0]), Number(high[0])];
  const rest = low.length - 1;
  const nines = "9".repeat(rest);
  const zeros = "0".repeat(rest);
  if (low.slice(1) === zeros && high.slice(1) === nines) return [[[first, last], ...anyDigits(rest)]];
  if (first === last) return sameLength(low.slice(1), high.slice(1)).map((run) => [[first, first], ...run]);
  const lowest = sameLength(low.slice(1), nines).map((run): DigitRun => [[first, first], ...run]);
  const highest = sameLength(zeros, high.slice(1)).map((run): DigitRun => [[last, last], ...run]);
  const between: DigitRun[] = last - first > 1 ? [[[first + 1, last - 1], ...anyDigits(rest)]] : [];
  return [...lowest, ...between, ...highest];
}

/** Whole numbers from `low` to `high`, neither negative. */
function naturals(low: number, high: number): DigitRun[] {
  const found: DigitRun[] = [];
  for (let from = low; from <= high;) {
    const length = String(from).length;
    const to = Math.min(high, 10 ** length - 1);
    found.push(...sameLength(String(from), String(to)));
    from = to + 1;
  }
  return found;
}

/** With a point before the last `fraction` digits; 0 for none. */
function runPiece(run: DigitRun, fraction = 0): Piece {
  const whole = groups(run.slice(0, run.length - fraction));
  return fraction === 0 ? sequence(...whole) : sequence(...whole, literal("."), ...groups(run.slice(run.length - fraction)));
}

/** Equal neighbours as one repetition. */
function groups(run: DigitRun): Piece[] {
  const pieces: Piece[] = [];
  for (let at = 0; at < run.length;) {
    const [from, to] = run[at] ?? [0, 9];
    let end = at + 1;
    while (end < run.length && run[end]?.[0] === from && run[end]?.[1] === to) end += 1;
    pieces.push(end === at + 1 ? digit(from, to) : repeat(digit(from, to), end - at, end - at));
    at = end;
  }
  return pieces;
}

const negated = (piece: Piece): Piece => sequence(literal("-"), piece);

/** Whole numbers from `low` to `high`, both safe integers; undefined when there are none. */
export function integersBetween(low: number, high: number): Piece | undefined {
  if (low > high) return undefined;
  const negative = low < 0 ? naturals(Math.max(1, -high), -low).map((run) => negated(runPiece(run))) : [];
  const positive = high >= 0 ? naturals(Math.max(0, low), high).map((run) => runPiece(run)) : [];
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
 * it makes 1, 2 and 1.x, and leaves the rest out. Bounds too close for that give decimals of as many digits as it takes.
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
  return found.length === 0 ? decimalsBetween(bounds) : oneOf(found);
}

/** Numbers between bounds that hold no whole one; undefined when no 15 digits behind the point tell them apart. */
function decimalsBetween({ least, openLeast, most, openMost }: NumberBounds): Piece | undefined {
  // No zero between them, so both have one sign.
  if (most < 0) {
    const mirrored = decimalsBetween({ least: -most, openLeast: openMost, most: -least, openMost: openLeast });
    return mirrored === undefined ? undefined : negated(mirrored);
  }
  const within = (value: number) => (openLeast ? value > least : value >= least) && (openMost ? value < most : value <= most);
  for (let digits = 1; digits <= 15; digits += 1) {
    const value = (scaled: number) => Number(`${scaled}e-${digits}`);
    let low = Math.floor(least * 10 ** digits);
    let high = Math.ceil(most * 10 ** digits);
    if (!Number.isSafeInteger(high)) return undefined;
    // Floats are a step off at most.
    for (let step = 0; step < 3 && !within(value(low)); step += 1) low += 1;
    for (let step = 0; step < 3 && !within(value(high)); step += 1) high -= 1;
    if (low > high || !within(value(low)) || !within(value(high))) continue;
    const ones = 10 ** digits;
    const small = low < ones ? sameLength(padded(low, digits), padded(Math.min(high, ones - 1), digits)) : [];
    const large = high >= ones ? naturals(Math.max(low, ones), high) : [];
    return oneOf([...small, ...large].map((run) => runPiece(run, digits)));
  }
  return undefined;
}

const padded = (scaled: number, digits: number): string => String(scaled).padStart(digits + 1, "0");

/** Any whole number with this number of digits. */
export function anyInteger(count: number): Piece {
  return oneOf([literal("0"), sequence(repeat(literal("-"), 0, 1), digit(1, 9), repeat(digit(0, 9), 0, count - 1))]);
}

/** Any number with these numbers of digits before and after the point. */
export function anyNumber(count: number, fraction: number): Piece {
  const whole = oneOf([literal("0"), sequence(digit(1, 9), repeat(digit(0, 9), 0, count - 1))]);
  const part = repeat(sequence(literal("."), repeat(digit(0, 9), 1, fraction)), 0, 1);
  const exponent: Piece = { gbnf: "([eE] [-+]? [0-9]{1,2})?", longest: 4, starts: 2, ways: 3, nullable: true };
  return sequence(repeat(literal("-"), 0, 1), whole, part, exponent);
}

export interface NumberMaking {
  languages: Languages;
  /** Made once for a key. */
  automaton: (key: string, make: () => Automaton) => Automaton;
}

/** Where an automaton would be too large, so many multiples around zero (or the bound next to it) stand for all. */
const mostListed = 200;

/** Multiples of a whole `step` from `low` to `high`, all safe integers; undefined when there are none. */
export function multiplesBetween(
  step: number,
  low: number,
  high: number,
  { languages, automaton }: NumberMaking,
  rules: Rules,
): Piece | undefined {
  const [first, last] = [Math.ceil(low / step), Math.floor(high / step)];
  if (first > last) return undefined;
  if (last - first < mostListed) return listed(step, first, last);
  // The zeros at the end are said as such: an automaton counts what is left of the step.
  let [core, zeros] = [step, 0];
  for (; core % 10 === 0; zeros += 1) core /= 10;
  const scale = 10 ** zeros;
  const side = (from: number, to: number): Piece | undefined => {
    if (from > to) return undefined;
    const made = automaton(`${core} ${from} ${to}`, () => {
      const runs = naturals(from, to).map((run) => languageOfRun(run, languages));
      return automatonOf(languages, languages.and(languages.or(...runs), languages.multiple(core)), true);
    });
    const piece = plainPiece(made, rules);
    return piece === undefined || zeros === 0 ? piece : sequence(piece, literal("0".repeat(zeros)));
  };
  try {
    const positive = side(Math.max(1, Math.ceil(low / scale)), Math.floor(high / scale));
    const negative = side(Math.max(1, Math.ceil(-high / scale)), Math.floor(-low / scale));
    return oneOf([
      ...(low <= 0 && high >= 0 ? [literal("0")] : []),
      ...(positive === undefined ? [] : [positive]),
      ...(negative === undefined ? [] : [negated(negative)]),
    ]);
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    const middle = Math.min(Math.max(0, first), last);
    const from = Math.max(first, middle - mostListed / 2);
    return listed(step, from, Math.min(last, from + mostListed - 1));
  }
}

function listed(step: number, first: number, last: number): Piece {
  return oneOfTexts(Array.from({ length: last - first + 1 }, (_, i) => [String((first + i) * step), nothing] as const));
}

function languageOfRun(run: DigitRun, languages: Languages): Language {
  return languages.sequence(...run.map(([from, to]) => languages.characters([[0x30 + from, 0x30 + to]])));
}
