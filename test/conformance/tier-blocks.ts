/** Blocks for the tests of tiers: real envelopes, small ones. */
import { createHash } from "node:crypto";
import type { EngineKey } from "../../gpu-backend/engine/engine.ts";
import { sealBlock, type SealedBlock } from "../../gpu-backend/blocks/block.ts";
import type { OfferedBlock } from "../../gpu-backend/blocks/tier-stack.ts";

export const KV_TOKEN_BYTES = 24;
export const kvSpace = hashOf("space");
/** Every number is an f16. */
export const card = {
  kvSpace,
  kvTokenBytes: KV_TOKEN_BYTES,
  kvNumbers: [{ tokenBytes: KV_TOKEN_BYTES, float: "f16" as const, strideBytes: 2, floats: 1 }],
};

export function hashOf(name: string): string {
  return createHash("sha256").update(name).digest("hex");
}

export function keyOf(name: string): EngineKey {
  return hashOf(`key ${name}`) as EngineKey;
}

/** The same name gives the same block. */
export function blockOf(name: string, parent: string | null = null, tokens = 4): OfferedBlock {
  const data = new Uint8Array(tokens * KV_TOKEN_BYTES);
  for (let at = 0; at < data.length; at++) data[at] = (name.length * 31 + name.charCodeAt(at % name.length) + at) & 255;
  // Finite: not all bits of an exponent.
  for (let at = 1; at < data.length; at += 2) data[at] = (data[at] ?? 0) & 0xbf;
  return {
    key: keyOf(name),
    parent: parent === null ? null : keyOf(parent),
    tokens: Uint32Array.from({ length: tokens }, (_, index) => name.charCodeAt(0) * 1000 + index),
    data,
  };
}

export function sealedOf(name: string, parent: string | null = null, tokens = 4): SealedBlock {
  const block = blockOf(name, parent, tokens);
  return sealBlock(block, { ...card, parent: block.parent });
}

/** A chain name0 → name1 → … */
export function chainOf(name: string, length: number): OfferedBlock[] {
  return Array.from({ length }, (_, index) => blockOf(`${name}${index}`, index === 0 ? null : `${name}${index - 1}`));
}

export class Clock {
  ms = 1_000_000;
  readonly now = (): number => this.ms;
}
