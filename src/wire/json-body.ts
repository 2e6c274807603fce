/** From a body's bytes to a value that is safe to walk. */
import type { ApiError } from "../errors.ts";
import { apiError } from "../errors.ts";

/** Deeper JSON is refused: beyond any schema in use, and far from what overflows a stack. */
export const MAX_NESTING = 64;

/** A fatal UTF-8 decoder: throws on invalid bytes (`new TextDecoder("utf-8", {fatal: true})`, kept by the shell). */
export interface Utf8Decoder {
  decode(bytes: Uint8Array): string;
}

export type DecodedBody = { ok: true; value: unknown } | { ok: false; error: ApiError };

/** Bytes → JSON value. Errors are 400s that say where, never what: a message must not carry parts of a prompt. */
export function decodeJsonBody(bytes: Uint8Array, decoder: Utf8Decoder): DecodedBody {
  if (bytes.length === 0) return refused("The request body is empty; send a JSON object.");
  let text: string;
  try {
    text = decoder.decode(bytes);
  } catch {
    return refused("The request body is not valid UTF-8; encode it as UTF-8.");
  }
  try {
    return { ok: true, value: JSON.parse(text) };
  } catch (cause) {
    const where = cause instanceof Error ? jsonErrorPlace(cause.message) : "";
    return refused(`The request body is not valid JSON${where}; check quotes, commas and brackets.`);
  }
}

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
  return apiError("invalid_request", `\`${param}\` nests deeper than ${MAX_NESTING} levels; flatten it.`, param);
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
