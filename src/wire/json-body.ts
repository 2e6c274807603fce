/** From a body's bytes to a value that is safe to walk. */
import { type ApiError, apiError, shortParam } from "../errors.ts";

/** Deeper JSON is refused: beyond any schema in use, and far from what overflows a stack. */
const MAX_NESTING = 64;

/**
 * Objects, lists and fields in one body. 8 MiB of `{}` take the thread that serves everybody 1.2 s to parse, a million different names in one object
 * 1.3 s; so many take at most a quarter of that. Numbers and strings in lists are cheap and not counted: a prompt may be a list of tokens.
 */
export const MOST_STRUCTURES = 262_144;
/** A body of fewer bytes can't be costly. */
const CHEAP_BYTES = 65_536;

/** A fatal UTF-8 decoder: throws on invalid bytes (`new TextDecoder("utf-8", {fatal: true})`, kept by the shell). */
interface Utf8Decoder {
  decode(bytes: Uint8Array): string;
}

export type DecodedBody = { ok: true; value: unknown } | { ok: false; error: ApiError };

/** A longer body takes the thread for 5 to 20 ms in each of its steps. */
const LONG_BYTES = 1024 * 1024;

/**
 * Bytes → JSON value. Errors are 400s that say where, never what: a message must not carry parts of a prompt. `pause`: is awaited between the steps of a
 * long body, so that a thread that serves many serves others meanwhile.
 */
export async function decodeJsonBody(bytes: Uint8Array, decoder: Utf8Decoder, pause: () => Promise<unknown>): Promise<DecodedBody> {
  if (bytes.length === 0) return refused("The request body is empty; send a JSON object.");
  if (bytes.length > CHEAP_BYTES && hasManyStructures(bytes)) {
    return refused(`The request body has more than ${MOST_STRUCTURES} objects, lists and fields; send fewer.`);
  }
  if (bytes.length > LONG_BYTES) await pause();
  let text: string;
  try {
    text = decoder.decode(bytes);
  } catch {
    return refused("The request body is not valid UTF-8; encode it as UTF-8.");
  }
  if (bytes.length > LONG_BYTES) await pause();
  try {
    return { ok: true, value: JSON.parse(text) };
  } catch (cause) {
    const where = cause instanceof Error ? jsonErrorPlace(cause.message) : "";
    return refused(`The request body is not valid JSON${where}; check quotes, commas and brackets.`);
  }
}

/**
 * So many bytes of a string are looked at one by one; beyond them the platform's own search is ten times as fast, but a call of it costs as much as
 * they do. A prompt of 8 MiB takes 6 ms in place of 40 ms, and one of escaped quotes alone no longer than before.
 */
const NEAR_BYTES = 64;

const CODE = { quote: 0x22, backslash: 0x5c, colon: 0x3a, list: 0x5b, object: 0x7b };

/** Right up to the place where the bytes stop being JSON, and nothing is parsed beyond that. */
function hasManyStructures(bytes: Uint8Array): boolean {
  let structures = 0;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === CODE.quote) at = endOfString(bytes, at);
    else if ((byte === CODE.colon || byte === CODE.list || byte === CODE.object) && ++structures > MOST_STRUCTURES) return true;
  }
  return false;
}

/** Of the closing quote of a string that opens at `from`; beyond the bytes where none closes it. */
function endOfString(bytes: Uint8Array, from: number): number {
  let at = from + 1;
  for (;;) {
    const near = Math.min(at + NEAR_BYTES, bytes.length);
    for (; at < near && bytes[at] !== CODE.quote; at++) if (bytes[at] === CODE.backslash) at++;
    if (at < near || at >= bytes.length) return at;
    const quote = bytes.indexOf(CODE.quote, at);
    if (quote === -1) return bytes.length;
    if (!isEscaped(bytes, quote, at)) return quote;
    at = quote + 1;
  }
}

/** An odd number of backslashes stands right before `quote`, none of them before `from`. */
function isEscaped(bytes: Uint8Array, quote: number, from: number): boolean {
  let before = quote - 1;
  while (before >= from && bytes[before] === CODE.backslash) before--;
  return (quote - 1 - before) % 2 === 1;
}

/** A hint for people and nothing more: the platform says where a text is no JSON in its message alone. */
function jsonErrorPlace(message: string): string {
  if (message.startsWith("Unexpected end") || message.startsWith("Unterminated")) return ": it ends too early";
  const position = / at position (\d+)(?: \(line \d+ column \d+\))?$/.exec(message)?.[1];
  return position === undefined ? "" : ` at character ${position}`;
}

function refused(message: string): DecodedBody {
  return { ok: false, error: apiError("invalid_request", message) };
}

/** An error that names the field when anything in `value` nests deeper than MAX_NESTING. */
export function nestingProblem(value: unknown): ApiError | null {
  const path = deepPath(value, 0);
  if (path === null) return null;
  const param = formatPath(path.reverse().slice(0, 4));
  return apiError("invalid_request", `\`${shortParam(param)}\` nests deeper than ${MAX_NESTING} levels; flatten it.`, param);
}

/** Keys to a value below the limit, innermost first. Recursion ends at the limit, so depth of input cannot overflow the stack. */
function deepPath(value: unknown, depth: number): (string | number)[] | null {
  if (typeof value !== "object" || value === null) return null;
  if (depth >= MAX_NESTING) return [];
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index += 1) {
      const path = deepPath(value[index], depth + 1);
      if (path) return keep(path, index);
    }
    return null;
  }
  const fields = value as Record<string, unknown>;
  for (const key in fields) {
    const field = fields[key];
    if (typeof field !== "object" || field === null) continue;
    const path = deepPath(field, depth + 1);
    if (path) return keep(path, key);
  }
  return null;
}

function keep(path: (string | number)[], key: string | number): (string | number)[] {
  path.push(key);
  return path;
}

/** `["messages", 0, "content"]` → `messages[0].content`. A name of the caller's own is shortened. */
export function formatPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === "number") return `${text}[${key}]`;
    const name = String(key).slice(0, 64);
    return text === "" ? name : `${text}.${name}`;
  }, "");
}
