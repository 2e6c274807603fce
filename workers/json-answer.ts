/** Whether what a replica ended well is an answer at all. */
import { isObject } from "../src/wire/check.ts";

/** Up to here the whole text is parsed. A longer one would take the thread from others: of it the first and the last character are looked at. */
const MOST_PARSED_BYTES = 1024 * 1024;
const decoder = new TextDecoder();
const WHITE_SPACE: ReadonlySet<number | undefined> = new Set([0x20, 0x09, 0x0a, 0x0d]);
const [OPEN_BRACE, CLOSE_BRACE] = [0x7b, 0x7d];

/** The object that the text is; null when it is none. */
export function jsonObjectOf(body: Uint8Array): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(decoder.decode(body));
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

/** Every unary answer and every refusal is a JSON object. Nothing, half a text and a proxy's page are none. */
export function isJsonObject(body: Uint8Array): boolean {
  if (body.byteLength <= MOST_PARSED_BYTES) return jsonObjectOf(body) !== null;
  let [first, last] = [0, body.byteLength - 1];
  while (WHITE_SPACE.has(body[first])) first++;
  while (last > first && WHITE_SPACE.has(body[last])) last--;
  return body[first] === OPEN_BRACE && body[last] === CLOSE_BRACE;
}
