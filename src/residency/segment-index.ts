/**
 * Who holds what: one entry per (segment, replica) with the tiers it lies on and its token position.
 *
 * Example: replica 2 holds the first two of a prompt's three segments on its device, replica 5 only the second.
 *
 *   set(h0, 2, DEVICE, 64)  set(h1, 2, DEVICE, 130)  set(h1, 5, HOST, 130)
 *   overlap([h0, h1, h2]) → segments[2] = 2, tokens[2] = 130; segments[5] = 0 (the first one is missing: a gap)
 */

import type { SegmentHash } from "../prefix/chain.ts";
import type { AgeState } from "./ages.ts";
import type { ChangeLog } from "./change-log.ts";

/** Replica slots of one pool: 0 … 63. */
export const MAX_REPLICAS = 64;

/** Leading segments held without a gap, by replica slot. The arrays belong to the index and are overwritten by the next call. */
export interface Overlap {
  /** Leading segments held on any tier; length 64. */
  segments: Uint16Array;
  /** Token position of the last of them, tokens from the prompt's start; 0 when there is none. */
  tokens: Uint32Array;
  /** The same, counting only what lies on the device. */
  deviceSegments: Uint16Array;
  deviceTokens: Uint32Array;
  /** Token position of the last one of those that lie on the device or in host memory: what another replica can be sent at once. */
  memoryTokens: Uint32Array;
}

/** What is held of one segment by one replica. */
export interface ResidencyEntry {
  hash: SegmentHash;
  tierBits: number;
  tokens: number;
}

/** The meaning of an index, as every implementation must have it (test/conformance/segment-index.ts). */
export interface ResidencyIndex {
  /**
   * Replica `replica` (0 … 63) holds the segment on exactly the tiers of `tierBits`; replaces what was known of the pair.
   * `tokens`: token position of the segment's end, from the prompt's start, below 2^32. `tierBits` 0 removes. Hash 0 is never stored.
   * Throws RangeError for a slot or tier out of range. When full, others are evicted.
   */
  set(hash: SegmentHash, replica: number, tierBits: number, tokens: number): void;
  /** True when there was such an entry. */
  remove(hash: SegmentHash, replica: number): boolean;
  /** Removes all entries of a replica; how many there were. */
  forgetReplica(replica: number): number;
  /** At most 65,535 segments of the chain are looked at. Touches what it finds alive. */
  overlap(chain: BigUint64Array): Overlap;
  /** Tiers on which the pair lies; 0 when unknown. */
  tiersOf(hash: SegmentHash, replica: number): number;
  /** All entries of a replica, in no order. Do not change the index while iterating. */
  entries(replica: number): Iterable<ResidencyEntry>;
  readonly size: number;
  count(replica: number): number;
  /** Time for "least recently touched", seconds of any clock; what was used later counts as younger at any age. */
  tick(seconds: number): void;
}

export interface SegmentIndex extends ResidencyIndex {
  /** Bytes of all parts. */
  readonly bytes: number;
  /** Entries that there is room for. Up to 9 in 10 of them nothing is thrown out. */
  readonly places: number;
  /** Goes up with every entry that is added or removed. */
  readonly changes: number;
  /** Entries thrown out for lack of room since the index was made. */
  readonly evicted: number;
  /** The signed 32-bit halves of every entry's hash, in no order; a hash comes once for each replica that holds it. Do not change the index meanwhile. */
  scanHashes(visit: (hi: number, lo: number) => void): void;
}

/** Entries are cut by their hash into so many pages to be stored: by its first 6 bits. */
export const PAGES = 64;

/** What a checkpoint needs of an index (checkpoint.ts). Entries are four signed words: hi, lo, tokens, meta (part.ts). */
export interface StorableIndex extends SegmentIndex {
  /** All changes since it was cleared last, except touches; whoever made the index clears it before it grows large. */
  readonly log: ChangeLog;
  readonly ages: AgeState;
  /** Its entries' words, a copy. */
  page(page: number): Int32Array<ArrayBuffer>;
  /** Empties it, with room for so many entries that are `put` next. Nothing of this is logged. */
  restart(entries: number, ages: AgeState): void;
  /** An entry as it was stored; without tiers it is removed. */
  put(hi: number, lo: number, tokens: number, meta: number): void;
}
