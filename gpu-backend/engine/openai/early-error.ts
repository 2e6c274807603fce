/**
 * A streamed answer whose first event is an error: vLLM sends its status 200 before it looks at the prompt's tokens and at the grammar, and
 * its refusal comes as the only event. Until a first event, or for a moment, the stream is looked at here.
 */
import { setTimeout as pause } from "node:timers/promises";
import type { LinkAnswer, LinkStream } from "./server-link.ts";

/** A refusal comes within some ms of the headers; a prompt that is computed for longer is none. */
const LOOK_MS = 150;
const MAX_LOOKED_AT = 64 * 1024;
const ERROR = /^data: ?(\{"error"[^\n]*)\n/;

/** The refusal as if it had been the answer's status, or the stream with nothing lost of it, how it breaks included. */
export async function refusalOrStream(chunks: AsyncIterable<Uint8Array>): Promise<LinkAnswer | LinkStream> {
  const iterator = chunks[Symbol.asyncIterator]();
  const first = iterator.next();
  // A stream that breaks at once is one answer that broke, and no sign that the server is gone.
  const looked = await Promise.race([first.catch(() => null), pause(LOOK_MS, null, { ref: false })]);
  const text = looked === null || looked.done === true ? "" : Buffer.from(looked.value).toString();
  const answer = text.length > MAX_LOOKED_AT ? null : refusalIn(text);
  if (answer === null) return { type: "stream", chunks: continued(first, iterator) };
  await iterator.return?.();
  return answer;
}

function refusalIn(text: string): LinkAnswer | null {
  const line = ERROR.exec(text)?.[1];
  if (line === undefined) return null;
  try {
    const body = JSON.parse(line) as { error?: { code?: unknown } };
    const code = body.error?.code;
    return { type: "answer", status: typeof code === "number" && code >= 400 && code < 600 ? code : 500, text: line, body };
  } catch {
    return null;
  }
}

async function* continued(first: Promise<IteratorResult<Uint8Array>>, iterator: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    for (let next = await first; next.done !== true; next = await iterator.next()) yield next.value;
  } finally {
    await iterator.return?.();
  }
}
