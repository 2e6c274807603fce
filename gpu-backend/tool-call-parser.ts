/**
 * Finds `<tool_call>{"name": …, "arguments": {…}}</tool_call>` in an answer that comes in pieces. A call is told once its name is certain, its
 * arguments as they come. What is no call of a known tool stays text, tags and all; white space next to a call is dropped.
 */
import { partialTag } from "./reasoning-parser.ts";

const CALL_OPEN = "<tool_call>";
export const CALL_CLOSE = "</tool_call>";

export type Parsed = { type: "text"; text: string } | { type: "call"; name: string } | { type: "arguments"; text: string };

/**
 * Where calls stand. `free`: anywhere between texts. `forced`: the answer is nothing but calls, and what is left of a cut one is no text.
 * `either`: nothing but calls or nothing but text, as its first characters say (a JSON text may spell a call inside a string).
 */
export type CallsIn = "free" | "forced" | "either";

/** Characters of a call that is looked at only when whole. */
const MAX_HELD = 65_536;

const HEAD = /^\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(?=\{)/;

/** Finds the end of a JSON object that comes in pieces. */
class ObjectScanner {
  #depth = 0;
  #inString = false;
  #escaped = false;

  /** Index behind the object's last brace; -1 = it goes on. */
  scan(text: string): number {
    for (let index = 0; index < text.length; index += 1) {
      const char = text[index];
      if (this.#inString) this.#inText(char);
      else if (char === '"') this.#inString = true;
      else if (char === "{" || char === "[") this.#depth += 1;
      else if ((char === "}" || char === "]") && (this.#depth -= 1) === 0) return index + 1;
    }
    return -1;
  }

  #inText(char: string | undefined): void {
    if (this.#escaped) this.#escaped = false;
    else if (char === "\\") this.#escaped = true;
    else if (char === '"') this.#inString = false;
  }
}

export class ToolCallParser {
  readonly #tools: ReadonlySet<string>;
  #where: CallsIn;
  #state: "text" | "call" | "arguments" | "closing" | "all text" = "text";
  /** Not certain yet; in state "call" all since the opening tag. */
  #held = "";
  #scanner = new ObjectScanner();
  /** White space before the opening tag, dropped if a call follows. */
  #space = "";
  /** White space is dropped here: a call came just before. */
  #afterCall = false;

  constructor(tools: Iterable<string>, where: CallsIn = "free") {
    this.#tools = new Set(tools);
    this.#where = where;
  }

  /** A call has begun whose arguments have not ended. */
  get isInCall(): boolean {
    return this.#state === "arguments";
  }

  push(piece: string): Parsed[] {
    this.#held += piece;
    const parsed: Parsed[] = [];
    if (this.#where === "either" && !this.#choose()) return [];
    while (this.#step(parsed));
    return merged(this.#where === "forced" ? parsed.filter(({ type }) => type !== "text") : parsed);
  }

  /** What was held back, when no more comes. `cut`: before the model had ended. */
  end(cut: boolean): Parsed[] {
    const held = this.#held;
    this.#held = "";
    if (this.#state === "call") {
      const isText = this.#where === "free" && !cut;
      return this.#whole(held) ?? (isText ? [{ type: "text", text: this.#space + CALL_OPEN + held }] : []);
    }
    // What may be the beginning of a tag is text only where text may be.
    if (this.#state !== "text" || this.#where !== "free" || (this.#afterCall && held.trim() === "")) return [];
    return held === "" ? [] : [{ type: "text", text: held }];
  }

  /** Whether the answer is known to be calls or text. */
  #choose(): boolean {
    if (this.#held.startsWith(CALL_OPEN)) this.#where = "forced";
    else if (CALL_OPEN.startsWith(this.#held)) return false;
    else {
      this.#where = "free";
      this.#state = "all text";
    }
    return true;
  }

  /** Whether there may be more to do. */
  #step(parsed: Parsed[]): boolean {
    switch (this.#state) {
      case "all text":
        if (this.#held !== "") parsed.push({ type: "text", text: this.#held });
        this.#held = "";
        return false;
      case "text":
        return this.#text(parsed);
      case "call":
        return this.#call(parsed);
      case "arguments":
        return this.#arguments(parsed);
      case "closing":
        return this.#closing();
    }
  }

  #text(parsed: Parsed[]): boolean {
    if (this.#afterCall) this.#held = this.#held.trimStart();
    const at = this.#held.indexOf(CALL_OPEN);
    const certain = at === -1 ? this.#held.slice(0, this.#held.length - partialTag(this.#held, CALL_OPEN)) : this.#held.slice(0, at);
    const text = certain.trimEnd();
    if (text !== "") {
      parsed.push({ type: "text", text });
      this.#afterCall = false;
    }
    if (at === -1) {
      this.#held = this.#held.slice(text.length);
      return false;
    }
    // Kept until it is certain that a call follows.
    this.#space = certain.slice(text.length);
    this.#held = this.#held.slice(at + CALL_OPEN.length);
    this.#state = "call";
    return true;
  }

  #call(parsed: Parsed[]): boolean {
    const head = HEAD.exec(this.#held);
    if (head !== null) {
      const name = stringOf(head[1] ?? "");
      if (name === null || !this.#tools.has(name)) return this.#reject(parsed);
      parsed.push({ type: "call", name });
      this.#held = this.#held.slice(head[0].length);
      this.#scanner = new ObjectScanner();
      this.#state = "arguments";
      return true;
    }
    // Keys in another order, arguments as a string, or no call at all: the end decides.
    const body = this.#held.trimStart();
    if ((body !== "" && !body.startsWith("{")) || body.length > MAX_HELD) return this.#reject(parsed);
    const end = new ObjectScanner().scan(this.#held);
    if (end === -1) return false;
    const rest = this.#held.slice(end).trimStart();
    if (!rest.startsWith(CALL_CLOSE)) return CALL_CLOSE.startsWith(rest) ? false : this.#reject(parsed);
    const whole = this.#whole(this.#held.slice(0, end));
    if (whole === null) return this.#reject(parsed);
    parsed.push(...whole);
    this.#ended(rest.slice(CALL_CLOSE.length));
    return true;
  }

  #arguments(parsed: Parsed[]): boolean {
    const end = this.#scanner.scan(this.#held);
    const text = end === -1 ? this.#held : this.#held.slice(0, end);
    if (text !== "") parsed.push({ type: "arguments", text });
    this.#held = this.#held.slice(text.length);
    if (end === -1) return false;
    this.#state = "closing";
    return true;
  }

  /** The call is told; whatever stands before its closing tag is not ours to mend. */
  #closing(): boolean {
    const at = this.#held.indexOf(CALL_CLOSE);
    if (at === -1) return false;
    this.#ended(this.#held.slice(at + CALL_CLOSE.length));
    return true;
  }

  #ended(rest: string): void {
    this.#held = rest;
    this.#state = "text";
    this.#afterCall = true;
    this.#space = "";
  }

  /** The opening tag was text; another may follow it. */
  #reject(parsed: Parsed[]): boolean {
    parsed.push({ type: "text", text: this.#space + CALL_OPEN });
    this.#space = "";
    this.#state = "text";
    this.#afterCall = false;
    return true;
  }

  #whole(text: string): Parsed[] | null {
    try {
      const value: unknown = JSON.parse(text);
      if (typeof value !== "object" || value === null || !("name" in value)) return null;
      const { name } = value;
      const given: unknown = "arguments" in value ? value.arguments : {};
      if (typeof name !== "string" || !this.#tools.has(name)) return null;
      const body: unknown = typeof given === "string" ? JSON.parse(given) : given;
      if (typeof body !== "object" || body === null || Array.isArray(body)) return null;
      return [
        { type: "call", name },
        { type: "arguments", text: JSON.stringify(body) },
      ];
    } catch {
      return null;
    }
  }
}

function stringOf(json: string): string | null {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "string" ? value : null;
  } catch {
    return null;
  }
}

function merged(parsed: readonly Parsed[]): Parsed[] {
  const all: Parsed[] = [];
  for (const one of parsed) {
    const last = all.at(-1);
    if (one.type === "text" && last?.type === "text") all[all.length - 1] = { type: "text", text: last.text + one.text };
    else all.push(one);
  }
  return all;
}
