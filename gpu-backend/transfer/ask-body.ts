/** The body of an ask: its own JSON, then what the edge forwarded. */
import type { IncomingMessage } from "node:http";
import { BlocksAsk, decodeTokens, PrefillAsk } from "../../src/wire/kv-ask.ts";
import type { Ticket } from "../../src/wire/ticket.ts";

const MAX_ASK_BYTES = 2 * 1024 * 1024;
const MAX_BODY_BYTES = MAX_ASK_BYTES + 8 * 1024 * 1024;
const PATIENCE_MS = 5_000;

/** Null: too large, too slow, cut off, or no JSON. */
export async function readAsk(
  request: IncomingMessage,
  askBytesText: string | undefined,
  signal: AbortSignal,
): Promise<{ ask: unknown; body: Uint8Array } | null> {
  const askBytes = Number(askBytesText ?? Number.NaN);
  if (!Number.isInteger(askBytes) || askBytes < 2 || askBytes > MAX_ASK_BYTES) return null;
  const tooLate = setTimeout(() => request.destroy(), PATIENCE_MS);
  const parts: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const part of request as AsyncIterable<Uint8Array>) {
      length += part.byteLength;
      if (length > MAX_BODY_BYTES || signal.aborted) return null;
      parts.push(part);
    }
    if (askBytes > length) return null;
    const all = Buffer.concat(parts);
    return { ask: JSON.parse(all.toString("utf8", 0, askBytes)), body: all.subarray(askBytes) };
  } catch {
    return null;
  } finally {
    clearTimeout(tooLate);
  }
}

export type Asked = { kind: "prefill"; ask: PrefillAsk; body: Uint8Array } | { kind: "pull"; ask: BlocksAsk; tokens: Uint32Array };

/** Null: not of that kind. */
export function parseAsk(kind: Ticket["kind"], ask: unknown, body: Uint8Array): Asked | null {
  if (kind === "prefill") {
    const parsed = PrefillAsk.safeParse(ask);
    return parsed.success ? { kind, ask: parsed.data, body } : null;
  }
  const parsed = BlocksAsk.safeParse(ask);
  const tokens = decodeTokens(body);
  return parsed.success && tokens !== null ? { kind, ask: parsed.data, tokens } : null;
}
