/** Prompts as chains of segment hashes, the same for the same numbers. */
import { SEGMENT_TOKENS } from "./history.ts";

/** A mixing function of two numbers (murmur3's last step). */
export function mix(left: number, right: number): number {
  let mixed = Math.imul(left ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(right + 0x7f4a7c15, 0xc2b2ae35);
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

/** In [0, 1). */
export function share(left: number, right: number): number {
  return mix(left, right) / 2 ** 32;
}

/** Hashes number 0 … `count` - 1 of a family. */
function family(name: number, from: number, count: number): BigUint64Array<ArrayBuffer> {
  const halves = new Uint32Array(2 * count);
  for (let at = 0; at < count; at++) {
    halves[2 * at] = mix(name, from + at);
    halves[2 * at + 1] = mix(from + at, name) | 1;
  }
  return new BigUint64Array(halves.buffer);
}

export interface Prompt {
  chain: BigUint64Array;
  tokens: number;
}

/** Segment i ends at token (i + 1) * 64; what is left over is a last segment of its own. */
export function promptOf(conversation: number, own: number, sharedTokens: number, tokens: number): Prompt {
  const whole = Math.floor(tokens / SEGMENT_TOKENS);
  const shared = Math.min(whole, Math.floor(sharedTokens / SEGMENT_TOKENS));
  const rest = tokens % SEGMENT_TOKENS === 0 ? 0 : 1;
  const chain = new BigUint64Array(whole + rest);
  chain.set(family(conversation, 0, shared));
  if (whole > shared) chain.set(family(mix(conversation, own + 1), shared, whole - shared), shared);
  if (rest === 1) chain.set(family(mix(mix(conversation, own + 1), tokens), whole, 1), whole);
  return { chain, tokens };
}

/** Entries of a replica's own that no conversation has. */
export function entriesOf(replica: number, from: number, count: number): BigUint64Array {
  return family(mix(0x0e77, replica), from, count);
}
