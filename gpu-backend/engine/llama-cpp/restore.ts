/** KV that came with a request: compared to the request's own prompt before any of it is used. */
import type { BlockPayload, FirstToken, Restore } from "../engine.ts";
import { isFiniteKv, type KvNumbers } from "../kv-numbers.ts";
import { readKvBlock, tokenBytesOf, type KvBlock, type KvLayout } from "./kv-state.ts";

/** A restore that fits its prompt. */
export interface CheckedRestore {
  /** Block index of `blocks[0]`. */
  from: number;
  blocks: KvBlock[];
  /** The block is undefined when the prompt ends at a block's end. */
  tail: { block: KvBlock | undefined; first: FirstToken } | undefined;
}

/** What of a restore is put behind the blocks that are held already. */
export interface RestorePlan {
  blocks: KvBlock[];
  /** The whole prompt will be in place. */
  first: FirstToken | undefined;
}

interface Form {
  layout: KvLayout;
  numbers: readonly KvNumbers[];
  blockTokens: number;
}

function fits(payload: BlockPayload, tokens: Uint32Array, { layout, numbers }: Form): boolean {
  return (
    payload.tokens.length === tokens.length &&
    payload.data.length === tokens.length * tokenBytesOf(layout) &&
    tokens.every((token, index) => payload.tokens[index] === token) &&
    isFiniteKv(payload.data, tokens.length, numbers)
  );
}

/** Undefined when any part of it is not of this prompt, has another size, or has a number that is not finite. */
export function checkRestore(restore: Restore, prompt: Uint32Array, form: Form): CheckedRestore | undefined {
  const { layout, blockTokens } = form;
  const { from, blocks, tail } = restore;
  const fullBlocks = Math.floor(prompt.length / blockTokens);
  if (!Number.isSafeInteger(from) || from < 0 || from + blocks.length > fullBlocks) return undefined;
  const of = (block: number) => prompt.subarray(block * blockTokens, (block + 1) * blockTokens);
  if (!blocks.every((payload, index) => fits(payload, of(from + index), form))) return undefined;
  const rest = of(fullBlocks);
  if (tail !== null && !fits(tail.payload, rest, form)) return undefined;
  return {
    from,
    blocks: blocks.map(({ data }) => readKvBlock(layout, blockTokens, data)),
    tail:
      tail === null
        ? undefined
        : { block: rest.length === 0 ? undefined : readKvBlock(layout, rest.length, tail.payload.data), first: tail.first },
  };
}

/** Undefined when nothing of it helps: `held` blocks are there, of `fullBlocks`, and `reusable` may stay uncomputed without a tail. */
export function planRestore(restore: CheckedRestore, held: number, fullBlocks: number, reusable: number): RestorePlan | undefined {
  const { from, blocks, tail } = restore;
  if (from > held) return undefined;
  const end = from + blocks.length;
  const missing = blocks.slice(held - from);
  if (tail !== undefined && Math.max(held, end) === fullBlocks) {
    return { blocks: tail.block === undefined ? missing : [...missing, tail.block], first: tail.first };
  }
  const usable = Math.min(end, reusable) - held;
  return usable > 0 ? { blocks: missing.slice(0, usable), first: undefined } : undefined;
}
