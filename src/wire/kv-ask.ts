/** KV transfer, receiver → sender: paths, headers and what a receiver asks, beside its ticket (ticket.ts). The answer is kv.ts. */
import { z } from "zod";

export const KV_PATH = { prefill: "/kv/prefill", blocks: "/kv/blocks" } as const;

export const KV_HEADER = {
  ticket: "x-warmpath-ticket",
  /** 1, or 2 when a transfer goes on after a cut: each once a ticket. */
  trial: "x-warmpath-trial",
  /** So many bytes at the body's start are the ask, as JSON; the body that the edge forwarded follows. */
  askBytes: "x-warmpath-ask-bytes",
} as const;

const Hex = z.string().regex(/^[0-9a-f]{64}$/);

/** What both ends' checks begin with, so that no stream can answer another request. */
export function streamContext(ticket: string, trial: number): string {
  return `${trial} ${ticket}`;
}

const Count = z.number().int().nonnegative().max(0xffff_ffff);

/**
 * Keys are chained, so one says which prompt is meant and a number says how much of it the receiver has:
 * the same 200 bytes for 10 blocks and for 10,000.
 */
export const PrefillAsk = z.object({
  kvSpace: Hex,
  promptTokens: Count,
  /** Key of the prompt's last full block; null: it has none. */
  tip: Hex.nullable(),
  /** Leading blocks that the receiver has. */
  have: Count,
  api: z.enum(["chat", "completions", "responses", "messages"]),
  historyBytes: Count,
});
export type PrefillAsk = z.infer<typeof PrefillAsk>;

/**
 * Blocks `from` … `to` - 1 of the prompt whose tokens follow as the body, u32 little-endian, up to the end of block `to` - 1. The sender makes the keys itself, under the
 * ticket's salt: so a ticket gives the blocks of its own salt's prompts and no others, each once. The sender stops at the first block that it lacks.
 */
export const BlocksAsk = z.object({ kvSpace: Hex, from: Count, to: Count }).refine(({ from, to }) => from < to);
export type BlocksAsk = z.infer<typeof BlocksAsk>;

export function encodeTokens(tokens: Uint32Array): Uint8Array {
  const bytes = new Uint8Array(tokens.length * 4);
  const view = new DataView(bytes.buffer);
  for (const [index, token] of tokens.entries()) view.setUint32(4 * index, token, true);
  return bytes;
}

/** Null when the bytes are no whole number of tokens. */
export function decodeTokens(bytes: Uint8Array): Uint32Array | null {
  if (bytes.length % 4 !== 0) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Uint32Array.from({ length: bytes.length / 4 }, (_, index) => view.getUint32(4 * index, true));
}
