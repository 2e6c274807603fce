/** Deterministic automata of languages (language.ts), and grammars of automata. */
import { anyCharacter, intersection, type Language, type Languages, lastCodePoint, type Ranges, union } from "./language.ts";
import { type Piece, type Rules, UnsupportedError } from "./rules.ts";

interface State {
  accepts: boolean;
  /** Target → the characters that lead there. Only states from which a text can end. */
  next: Map<number, Ranges>;
}

/** Its first state is where it begins; without any state it matches nothing. */
export interface Automaton {
  states: readonly State[];
  /** Characters of the shortest and of the longest text; Infinity when there is none such. */
  shortest: number;
  longest: number;
}

const mostStates = 2_000;
const digits: Ranges = [[0x30, 0x39]];
const oneUnit: Ranges = [[0, 0xffff]];

/** Classes of characters that the language treats alike, one member each. */
function alphabet(language: Language): Ranges[] {
  const sets = new Map<string, Ranges>();
  const seen = new Set<Language>();
  const open = [language];
  const add = (ranges: Ranges) => sets.set(ranges.join(";"), ranges);
  for (let one = open.pop(); one !== undefined; one = open.pop()) {
    if (seen.has(one)) continue;
    seen.add(one);
    if (one.kind === "characters") add(one.ranges);
    else if (one.kind === "multiple") for (let digit = 0x30; digit <= 0x39; digit += 1) add([[digit, digit]]);
    else if (one.kind === "sequence") open.push(one.first, one.rest);
    else if (one.kind === "or" || one.kind === "and") open.push(...one.members);
    else if (one.kind === "loop" || one.kind === "not") open.push(one.body);
  }
  return partition([...sets.values()]);
}

function partition(sets: readonly Ranges[]): Ranges[] {
  const cuts = new Set(anyCharacter.flatMap(([from, to]) => [from, to + 1]));
  for (const ranges of sets) for (const [from, to] of ranges) cuts.add(from).add(to + 1);
  const sorted = [...cuts].toSorted((a, b) => a - b);
  const places = sets.map(() => 0);
  const classes = new Map<string, [number, number][]>();
  for (const [index, from] of sorted.entries()) {
    const to = (sorted[index + 1] ?? lastCodePoint + 1) - 1;
    if (from > lastCodePoint || (from >= 0xd800 && from <= 0xdfff)) continue;
    // Each set's ranges rise, so one pointer a set goes through them once.
    const signature = sets.map((ranges, set) => {
      while ((ranges[places[set] ?? 0]?.[1] ?? Infinity) < from) places[set] = (places[set] ?? 0) + 1;
      const range = ranges[places[set] ?? 0];
      return range !== undefined && range[0] <= from ? "1" : "0";
    });
    const key = signature.join("");
    const found = classes.get(key);
    if (found === undefined) classes.set(key, [[from, to]]);
    else found.push([from, to]);
  }
  return [...classes.values()];
}

/** Throws an UnsupportedError where that takes too many states. `numeric`: over decimal digits only. */
export function automatonOf(languages: Languages, language: Language, numeric = false): Automaton {
  const letters = alphabet(language)
    .map((letter) => (numeric ? intersection(letter, digits) : letter))
    .filter((letter) => letter.length > 0);
  const found = [language];
  const places = new Map([[language, 0]]);
  const states: State[] = [];
  for (let from = 0; from < found.length; from += 1) {
    const ways = new Map<number, Ranges[]>();
    for (const letter of letters) {
      const target = languages.derivative(found[from] ?? languages.nothing, letter[0]?.[0] ?? 0);
      if (target === languages.nothing) continue;
      let to = places.get(target);
      if (to === undefined) {
        to = found.push(target) - 1;
        places.set(target, to);
        if (to >= mostStates) throw new UnsupportedError(`too complex, it needs more than ${mostStates} states`);
      }
      ways.set(to, [...(ways.get(to) ?? []), letter]);
    }
    const next = [...ways].map(([to, all]) => [to, all.length === 1 ? (all[0] ?? []) : union(...all)] as const);
    states.push({ accepts: found[from]?.nullable === true, next: new Map(next) });
  }
  return trimmed(states);
}

/** The states from which there is an end and that can be reached, in order. */
function trimmed(states: readonly State[]): Automaton {
  const into: number[][] = states.map(() => []);
  for (const [from, { next }] of states.entries()) for (const to of next.keys()) into[to]?.push(from);
  const open = [...states.keys()].filter((state) => states[state]?.accepts === true);
  const alive = new Set(open);
  for (let state = open.pop(); state !== undefined; state = open.pop()) {
    for (const from of into[state] ?? []) {
      if (alive.has(from)) continue;
      alive.add(from);
      open.push(from);
    }
  }
  if (!alive.has(0)) return { states: [], shortest: Infinity, longest: 0 };
  const reached = new Set([0]);
  for (const state of reached) for (const to of states[state]?.next.keys() ?? []) if (alive.has(to)) reached.add(to);
  const names = new Map([...reached].map((state, index) => [state, index]));
  const kept = [...reached].map((state): State => {
    const { accepts, next } = states[state] ?? { accepts: false, next: new Map<number, Ranges>() };
    return { accepts, next: new Map([...next].flatMap(([to, ranges]) => (names.has(to) ? [[names.get(to) ?? 0, ranges] as const] : []))) };
  });
  return { states: kept, shortest: distances(kept)[0] ?? Infinity, longest: longestOf(kept) };
}

/** Of the longest way to an end; Infinity with a circle, from which an end can always be reached here. */
function longestOf(states: readonly State[]): number {
  const incoming = states.map(() => 0);
  for (const { next } of states) for (const to of next.keys()) incoming[to] = (incoming[to] ?? 0) + 1;
  const lengths = states.map(() => 0);
  const open = incoming[0] === 0 ? [0] : [];
  let done = 0;
  for (let state = open.pop(); state !== undefined; state = open.pop(), done += 1) {
    for (const to of states[state]?.next.keys() ?? []) {
      lengths[to] = Math.max(lengths[to] ?? 0, (lengths[state] ?? 0) + 1);
      incoming[to] = (incoming[to] ?? 0) - 1;
      if (incoming[to] === 0) open.push(to);
    }
  }
  return done < states.length ? Infinity : lengths.reduce((most, length) => Math.max(most, length), 0);
}

/** Characters from each state to the nearest end. */
function distances(states: readonly State[]): number[] {
  const into: number[][] = states.map(() => []);
  for (const [from, { next }] of states.entries()) for (const to of next.keys()) into[to]?.push(from);
  const found = states.map(({ accepts }) => (accepts ? 0 : Infinity));
  const open = [...states.keys()].filter((state) => found[state] === 0);
  for (let at = 0; at < open.length; at += 1) {
    const state = open[at] ?? 0;
    for (const from of into[state] ?? []) {
      if (found[from] !== Infinity) continue;
      found[from] = (found[state] ?? 0) + 1;
      open.push(from);
    }
  }
  return found;
}

interface LengthBounds {
  /** Characters at least. */
  least: number;
  /** At most; Infinity for none. */
  most: number;
  /** Only characters that are one UTF-16 unit, so that characters and units count alike. */
  narrow: boolean;
}

/** Texts of a length. Where counting takes too many states, the longest are left out. */
export function ofLength({ states }: Automaton, { least, most, narrow }: LengthBounds): Automaton {
  const left = distances(states);
  const affordable = Math.floor(mostStates / Math.max(1, states.length)) - 1;
  const limit = most === Infinity ? Infinity : Math.min(most, Math.max(affordable, least, left[0] ?? 0));
  const last = limit === Infinity ? least : limit;
  const found: [state: number, length: number][] = [[0, 0]];
  const places = new Map([[0, 0]]);
  const counted: State[] = [];
  for (let at = 0; at < found.length; at += 1) {
    const [state, length] = found[at] ?? [0, 0];
    const { accepts, next } = states[state] ?? { accepts: false, next: new Map<number, Ranges>() };
    const ways = new Map<number, Ranges>();
    for (const [to, ranges] of next) {
      const kept = narrow ? intersection(ranges, oneUnit) : ranges;
      if (kept.length === 0 || length + 1 + (left[to] ?? Infinity) > limit) continue;
      const after = Math.min(length + 1, last);
      const key = to * (last + 1) + after;
      let place = places.get(key);
      if (place === undefined) {
        place = found.push([to, after]) - 1;
        places.set(key, place);
        if (place >= mostStates) throw new UnsupportedError(`too complex, it needs more than ${mostStates} states`);
      }
      ways.set(place, kept);
    }
    counted.push({ accepts: accepts && length >= least, next: ways });
  }
  return trimmed(counted);
}

/** As short as GBNF has it. */
function spelled(code: number): string {
  const isPlain = (code >= 0x30 && code <= 0x39) || (code >= 0x41 && code <= 0x5a) || (code >= 0x61 && code <= 0x7a);
  if (isPlain) return String.fromCodePoint(code);
  const [mark, length] = code < 0x100 ? ["x", 2] : code < 0x10000 ? ["u", 4] : ["U", 8];
  return `\\${mark}${code.toString(16).toUpperCase().padStart(Number(length), "0")}`;
}

const escapes: ReadonlyMap<number, string> = new Map([
  [0x08, '"\\\\b"'],
  [0x09, '"\\\\t"'],
  [0x0a, '"\\\\n"'],
  [0x0c, '"\\\\f"'],
  [0x0d, '"\\\\r"'],
  [0x22, '"\\\\\\""'],
  [0x5c, '"\\\\\\\\"'],
]);
/** What stands in a JSON string as itself; the delete character is left out, as in free strings. */
const plain: Ranges = [
  [0x20, 0x21],
  [0x23, 0x5b],
  [0x5d, 0x7e],
  [0x80, 0xd7ff],
  [0xe000, lastCodePoint],
];

function characterClass(ranges: Ranges): string {
  return `[${ranges.map(([from, to]) => (from === to ? spelled(from) : `${spelled(from)}-${spelled(to)}`)).join("")}]`;
}

/** Alternatives for one character, as JSON spells it. */
function inJson(ranges: Ranges): string[] {
  const raw = intersection(ranges, plain);
  const escaped = [...escapes].filter(([code]) => ranges.some(([from, to]) => from <= code && code <= to));
  return [...(raw.length > 0 ? [characterClass(raw)] : []), ...escaped.map(([, text]) => text)];
}

/** A JSON string with both its quotes whose text the automaton accepts; undefined when JSON can spell none of it. */
export function jsonStringPiece(automaton: Automaton, rules: Rules): Piece | undefined {
  const { states } = trimmed(automaton.states.map(({ accepts, next }) => ({ accepts, next: spellable(next) })));
  if (states.length === 0) return undefined;
  const start = rulesOf(states, rules, inJson, '"\\""');
  return { ...start, gbnf: `"\\"" ${start.gbnf}`, starts: 1, longest: automaton.longest + 2, nullable: false };
}

/** The text itself; for digits. */
export function plainPiece(automaton: Automaton, rules: Rules): Piece | undefined {
  const { states, longest } = automaton;
  if (states.length === 0) return undefined;
  return { ...rulesOf(states, rules, (ranges) => [characterClass(ranges)], '""'), longest, nullable: states[0]?.accepts === true };
}

function spellable(next: ReadonlyMap<number, Ranges>): Map<number, Ranges> {
  return new Map([...next].filter(([, ranges]) => inJson(ranges).length > 0));
}

/** One rule a state; each character leads to one rule only, so llama.cpp has one way to go. */
function rulesOf(
  states: readonly State[],
  rules: Rules,
  spell: (ranges: Ranges) => string[],
  end: string,
): Pick<Piece, "gbnf" | "starts" | "ways"> {
  const names = states.map(() => rules.reserve());
  let most = 1;
  for (const [state, { accepts, next }] of states.entries()) {
    const ways = [...next].flatMap(([to, ranges]) => spell(ranges).map((one) => `${one} ${names[to] ?? ""}`));
    if (accepts) ways.push(end);
    rules.define(names[state] ?? "", ways.join(" | "));
    most = Math.max(most, ways.length);
  }
  return { gbnf: names[0] ?? "", starts: most, ways: most };
}
