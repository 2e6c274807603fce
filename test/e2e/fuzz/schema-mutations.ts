/** Damage that knows the API: one field made certainly wrong, or any value anywhere replaced. */
import type { Json, Random } from "./random.ts";
import { DEEP, MISSING, type Rule } from "./rules.ts";

const DEPTH = 20_000;
const HUGE = "many words and more ".repeat(10_000);
const PROMPTS: readonly string[] = ["messages", "prompt", "input"];
const STRANGE: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  1e308,
  9e15,
  "",
  "x",
  "\ud800",
  [],
  {},
  [[]],
  [null],
  { "": "" },
  { type: "text" },
];

export interface Damaged {
  text: string;
  what: string;
  param: string;
  /** The error may name what contains the place, or is in it. */
  near: boolean;
}

interface Place {
  holder: object;
  key: string | number;
  path: string;
}

/** Every place in `body` that the pattern fits; the last key need not be there. */
function placesOf(body: Json, pattern: string): Place[] {
  const keys = pattern.replaceAll("[*]", ".*").split(".");
  let places: Place[] = [{ holder: { body }, key: "body", path: "" }];
  for (const key of keys) {
    places = places.flatMap(({ holder, key: at, path }): Place[] => {
      const next: unknown = Reflect.get(holder, at);
      if (typeof next !== "object" || next === null) return [];
      if (key !== "*") return Array.isArray(next) ? [] : [{ holder: next, key, path: path === "" ? key : `${path}.${key}` }];
      return Array.isArray(next) ? next.map((_, index) => ({ holder: next, key: index, path: `${path}[${index}]` })) : [];
    });
  }
  return places;
}

function set({ holder, key }: Place, value: unknown): void {
  if (value === MISSING) Reflect.deleteProperty(holder, key);
  else Reflect.set(holder, key, value);
}

const deepText = (open: string, inner: string, close: string): string => open.repeat(DEPTH) + inner + close.repeat(DEPTH);

function textOf(body: Json, random: Random): string {
  const deep = random.chance(50) ? deepText('{"a":', "1", "}") : deepText("[", "", "]");
  return JSON.stringify(body).replace(`"${DEEP}"`, () => deep);
}

/** One field that the API must refuse, by name. null: this body has no place for the rule that was drawn. */
export function certain(body: Json, rules: readonly Rule[], random: Random): Damaged | null {
  const { at, bad, when, below } = random.pick(rules);
  const places = placesOf(body, at).filter(({ holder }) => when(holder as Json, body));
  if (places.length === 0) return null;
  const place = random.pick(places);
  if (random.chance(3)) {
    set(place, DEEP);
    return { text: textOf(body, random), what: `${place.path} deep`, param: place.path, near: true };
  }
  const value = random.pick(bad);
  set(place, typeof value === "object" ? structuredClone(value) : value);
  const shown = value === MISSING ? "missing" : JSON.stringify(value);
  return { text: JSON.stringify(body), what: `${place.path} ${shown}`, param: place.path + below, near: false };
}

/** What else an error may blame when this field changed. A prompt that got too long is blamed as such. */
const RELATED: Readonly<Record<string, readonly string[]>> = {
  tools: ["tool_choice", ...PROMPTS],
  tool_choice: ["tools"],
  system: PROMPTS,
  instructions: PROMPTS,
  max_tokens: PROMPTS,
  max_completion_tokens: PROMPTS,
  max_output_tokens: PROMPTS,
  n: ["best_of"],
  logprobs: ["top_logprobs", "echo"],
};

export interface Changed {
  text: string;
  what: string;
  /** Fields of the body that an error may be about. */
  roots: readonly string[];
}

/** One value or two, of any field, replaced or taken out; it may do no harm. */
export function wild(body: Json, random: Random): Changed {
  const done: string[] = [];
  const roots: string[] = [];
  for (let times = random.int(1, 2); times > 0; times--) {
    const { holder, root } = random.pick(holdersIn(body, ""));
    const keys = Object.keys(holder);
    const key = keys.length === 0 ? "model" : random.pick(keys);
    const value = random.pick<unknown>([...STRANGE, MISSING, MISSING, MISSING, DEEP, HUGE]);
    if (value === MISSING) Reflect.deleteProperty(holder, key);
    else Reflect.set(holder, key, typeof value === "object" ? structuredClone(value) : value);
    done.push(`${root === "" ? "" : `${root} … `}${key} ${value === MISSING ? "missing" : (JSON.stringify(value) ?? "").slice(0, 40)}`);
    const changed = root === "" ? key : root;
    roots.push(changed, ...(RELATED[changed] ?? []));
  }
  return { text: textOf(body, random), what: done.join(", "), roots };
}

interface Holder {
  holder: object;
  /** The body's field that it is in. */
  root: string;
}

/** Every object and array with something in it, and the body. */
function holdersIn(value: object, root: string): Holder[] {
  const inside = Object.entries(value).flatMap(([key, field]: [string, unknown]) =>
    typeof field === "object" && field !== null ? holdersIn(field, root === "" ? key : root) : [],
  );
  return Object.keys(value).length > 0 || root === "" ? [{ holder: value, root }, ...inside] : inside;
}

/** The last message is beyond any context. */
export function tooLong(body: Json): string {
  const long = { role: "user", content: HUGE };
  const field = "messages" in body ? "messages" : "input" in body ? "input" : "prompt";
  const before = body[field];
  return JSON.stringify({ ...body, [field]: field === "prompt" ? HUGE : [...(Array.isArray(before) ? before : []), long] });
}

/** Duplicate key: the last one counts, in JSON.parse as in most parsers. */
export function twice(body: Json, last: "good" | "bad"): string {
  const text = JSON.stringify(body);
  return last === "good" ? `{"model":5,${text.slice(1)}` : `${text.slice(0, -1)},"model":5}`;
}
