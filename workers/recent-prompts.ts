/** Where this isolate has sent prompts lately: what a pool's sketch cannot tell yet. */
import type { Chain } from "../src/prefix/chain.ts";

/** By then a sketch tells it, if it is so. */
const LATELY_MS = 5_000;
const MOST_KEPT = 8_192;

interface Sent {
  pool: string;
  segments: number;
  /** Hash of the last of them, which stands for all before. */
  tip: bigint;
  atMs: number;
}

/** By conversation; oldest first. */
const recent = new Map<bigint, Sent>();

export function keepSent(conversation: bigint, pool: string, { hashes }: Chain, nowMs: number): void {
  recent.delete(conversation);
  recent.set(conversation, { pool, segments: hashes.length, tip: hashes.at(-1) ?? 0n, atMs: nowMs });
  const oldest = recent.keys().next();
  if (recent.size > MOST_KEPT && oldest.done !== true) recent.delete(oldest.value);
}

/** Leading segments of the chain that were in the conversation's last prompt, when that went to this pool. */
export function sentLately(conversation: bigint, pool: string, { hashes }: Chain, nowMs: number): number {
  const sent = recent.get(conversation);
  if (sent === undefined || sent.pool !== pool || nowMs - sent.atMs > LATELY_MS) return 0;
  return sent.segments > 0 && hashes[sent.segments - 1] === sent.tip ? sent.segments : 0;
}
