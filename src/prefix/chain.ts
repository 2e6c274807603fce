/**
 * A prompt's chain: one 64-bit hash per full segment, each seeded with the one before, so that equal hashes mean equal prompts up to there.
 * docs/hash-chain.md is the specification, test/vectors/hash-chain.json holds its golden vectors.
 *
 * 0 is never a segment hash (it means "empty" in the index): where xxh64 gives 0, the hash is 1, and so is the next one's seed.
 */
import { type HashSpec, type SegmentSchedule, segmentEnds, specFingerprint } from "./segment.ts";

/** xxh64, handed in by the shell (`xxhash-wasm`'s h64Raw). */
export type Hash64 = (bytes: Uint8Array, seed: bigint) => bigint;

/**
 * Not 0, below 2^64. A name and no brand: hashes lie in BigUint64Arrays, and every read of one would need a cast. What a hash could be mistaken for,
 * an engine's key, is a branded string.
 */
export type SegmentHash = bigint;

export interface Chain {
  /** Segment hashes, front first. */
  hashes: BigUint64Array;
  /** The offset in the canonical prompt at which each segment ends. */
  ends: Uint32Array;
}

export interface ChainScope {
  spec: HashSpec;
  model: string;
  /** Name of the LoRA adapter; null = the bare model. */
  adapter: string | null;
  /** Salt of the tenant or share group. */
  salt: string;
}

/** 0 → 1. */
function toSegmentHash(hash: bigint): SegmentHash {
  return hash === 0n ? 1n : hash;
}

/** h_0: xxh64, seed 0, of the UTF-8 JSON `["warmpath",fingerprint,model,adapter,salt]`. Depends on the tenant and the pool only: keep it. */
export function chainRoot(hash64: Hash64, scope: ChainScope): SegmentHash {
  const text = JSON.stringify(["warmpath", specFingerprint(scope.spec), scope.model, scope.adapter, scope.salt]);
  return toSegmentHash(hash64(new TextEncoder().encode(text), 0n));
}

/** h_i = xxh64(segment i, seed h_{i-1}) for the full segments of `bytes`. A rest that fills no segment has no hash. */
export function chainOf(hash64: Hash64, root: SegmentHash, bytes: Uint8Array, schedule: SegmentSchedule): Chain {
  const ends = Uint32Array.from(segmentEnds(schedule, bytes.length));
  const hashes = new BigUint64Array(ends.length);
  let hash = root;
  let start = 0;
  for (let index = 0; index < ends.length; index += 1) {
    const end = ends[index] ?? 0;
    hash = toSegmentHash(hash64(bytes.subarray(start, end), hash));
    hashes[index] = hash;
    start = end;
  }
  return { hashes, ends };
}
