/**
 * Who holds what: one entry per (segment, replica) with the tiers it lies on and its token position.
 *
 * Example: replica 2 holds the first two of a prompt's three segments on its device, replica 5 only the second.
 *
 *   set(h0, 2, DEVICE, 64)  set(h1, 2, DEVICE, 130)  set(h1, 5, HOST, 130)
 *   overlap([h0, h1, h2]) → segments[2] = 2, tokens[2] = 130; segments[5] = 0 (the first one is missing: a gap)
 */

/** Replica slots of one pool: 0 … 63. */
export const MAX_REPLICAS = 64;

/** Tiers as bits of an entry; an entry may lie on several. Four bits, never 0. */
export const TIER = { device: 1, host: 2, disk: 4, store: 8 } as const;
export const ALL_TIERS = 15;

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
  hash: bigint;
  tierBits: number;
  tokens: number;
}

/** The meaning of an index, as every implementation must have it (test/conformance/segment-index.ts). */
export interface ResidencyIndex {
  /**
   * Replica `replica` (0 … 63) holds the segment on exactly the tiers of `tierBits`; replaces what was known of the pair.
   * `tokens`: token position of the segment's end, from the prompt's start, below 2^32. `tierBits` 0 removes. Hash 0 is never stored.
   * Throws RangeError for a slot or tier out of range. When full, another entry of the same part is evicted.
   */
  set(hash: bigint, replica: number, tierBits: number, tokens: number): void;
  /** True when there was such an entry. */
  remove(hash: bigint, replica: number): boolean;
  /** Removes all entries of a replica; how many there were. */
  forgetReplica(replica: number): number;
  /** At most 65,535 segments of the chain are looked at. Touches what it finds alive. */
  overlap(chain: BigUint64Array): Overlap;
  /** Tiers on which the pair lies; 0 when unknown. */
  tiersOf(hash: bigint, replica: number): number;
  /** All entries of a replica, in no order. Do not change the index while iterating. */
  entries(replica: number): Iterable<ResidencyEntry>;
  readonly size: number;
  count(replica: number): number;
  /** Coarse time for "least recently touched", any unit that wraps no sooner than entries should live (16 bits are kept). */
  tick(now: number): void;
}

/** One part's bytes: 1 MiB, a copy, little-endian; store as one row. */
export interface PartBytes {
  id: number;
  data: Uint8Array;
}

/** Write all of it in one transaction, delete rows whose id the directory no longer names, then call `clean()`. */
export interface IndexCheckpoint {
  /** JSON; replaces the stored one. Names every part, dirty or not. */
  directory: string;
  /** Only the parts changed since `clean()`. */
  parts: PartBytes[];
}

export interface SegmentIndex extends ResidencyIndex {
  /** Bytes of all parts. */
  readonly bytes: number;
  /** Goes up with every entry that is added or removed. */
  readonly changes: number;
  /** Entries thrown out for lack of room since the index was made. */
  readonly evicted: number;
  /** The signed 32-bit halves of every entry's hash, in no order; a hash comes once for each replica that holds it. Do not change the index meanwhile. */
  scanHashes(visit: (hi: number, lo: number) => void): void;
  dirtyParts(): PartBytes[];
  /** Part ids in use, to delete the rows of others. */
  partIds(): number[];
  checkpoint(): IndexCheckpoint;
  /** The checkpoint was written. */
  clean(): void;
  /** Replaces the content by a checkpoint (all parts). False, and empty, when it does not fit together: resync. */
  load(directory: string, parts: Iterable<PartBytes>): boolean;
}
