/** How many bytes of a prompt reach the tokenizer at least, whatever the chat template does with the rest. */
import type { ChatMessage, ChatPrompt, TextPrompt } from "./prompt.ts";

const NOT_ASCII = 0x80;
const THREE_BYTES = 0x800;

/**
 * UTF-8 bytes. Of a chat only the users' texts and a first system text count, without white space: templates trim, leave out earlier reasoning, and
 * some have no place for tools or a tool's result. A prompt that passes no template counts whole. Nothing is counted beyond `enough` bytes: 8 MiB
 * would hold up the thread that counts, and everybody on it, for 30 ms.
 */
export function leastPromptBytes(prompt: ChatPrompt | TextPrompt, enough = Infinity): number {
  if ("text" in prompt) return bytesOf(prompt.text, true, enough);
  let bytes = 0;
  for (const [index, message] of prompt.messages.entries()) {
    if (bytes >= enough) break;
    if (isRendered(message, index)) bytes += contentBytes(message, enough - bytes);
  }
  return Math.min(bytes, enough);
}

function isRendered({ role }: ChatMessage, index: number): boolean {
  return role === "user" || (index === 0 && (role === "system" || role === "developer"));
}

function contentBytes({ content }: ChatMessage, enough: number): number {
  if (typeof content === "string") return bytesOf(content, false, enough);
  let bytes = 0;
  for (const part of content ?? []) if (part.type === "text" && bytes < enough) bytes += bytesOf(part.text, false, enough - bytes);
  return bytes;
}

/** A surrogate counts 2: a pair is 4 bytes, and one alone becomes 3. */
function bytesOf(text: string, withSpaces: boolean, enough: number): number {
  let bytes = 0;
  for (let index = 0; index < text.length && bytes < enough; index += 1) {
    const unit = text.charCodeAt(index);
    if (!withSpaces && isSpace(unit)) continue;
    if (unit < NOT_ASCII) bytes += 1;
    else bytes += unit < THREE_BYTES || (unit >= 0xd800 && unit <= 0xdfff) ? 2 : 3;
  }
  return Math.min(bytes, enough);
}

/** All that any `trim` takes away, and a few more. */
function isSpace(unit: number): boolean {
  if (unit < NOT_ASCII) return unit <= 0x20;
  return unit === 0x85 || unit === 0xa0 || unit === 0x1680 || (unit >= 0x2000 && unit <= 0x206f) || unit === 0x3000 || unit === 0xfeff;
}
