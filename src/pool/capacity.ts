/** How much of what a replica says of its size is believed. */
import type { Capacity } from "./replica.ts";

/** More than engines run side by side; with the queue a quarter of a pool's leases, so that no one replica takes them all. */
export const MOST_SEQUENCES = 1_024;
export const MOST_QUEUED = 1_024;
const MOST_KV_TOKENS = 2 ** 32;
const MOST_BLOCK_TOKENS = 2 ** 16;
export const MOST_CONTEXT_TOKENS = 2 ** 24;
const MOST_STEP_TOKENS = 2 ** 18;
const MOST_TOKEN_BYTES = 2 ** 16;

/** Within what the pool reckons with; numbers that are none are the least. */
export function boundedCapacity(capacity: Capacity): Capacity {
  const { sequences, kvTokens, blockTokens, contextTokens, queueLimit, stepTokens, longestTokenBytes } = capacity;
  return {
    sequences: within(sequences, 1, MOST_SEQUENCES),
    kvTokens: within(kvTokens, 1, MOST_KV_TOKENS),
    blockTokens: within(blockTokens, 1, MOST_BLOCK_TOKENS),
    contextTokens: within(contextTokens, 1, MOST_CONTEXT_TOKENS),
    queueLimit: within(queueLimit, 0, MOST_QUEUED),
    ...(stepTokens === undefined ? {} : { stepTokens: within(stepTokens, 1, MOST_STEP_TOKENS) }),
    ...(longestTokenBytes === undefined ? {} : { longestTokenBytes: within(longestTokenBytes, 1, MOST_TOKEN_BYTES) }),
  };
}

/** Requests that a replica may have at a time. */
export function placesOf({ sequences, queueLimit }: Capacity): number {
  return sequences + queueLimit;
}

function within(value: number, least: number, most: number): number {
  return Number.isFinite(value) ? Math.min(most, Math.max(least, Math.floor(value))) : least;
}
