/** Which blocks a vLLM engine holds, on which tiers, as its events say. */
import { ALL_TIERS, TIER } from "../../../src/residency/tiers.ts";
import type { BlockHash, KvEvent, RemovedBlocks, StoredBlocks } from "./kv-events.ts";

/** A block's tiers have changed; 0: it is nowhere any more. */
export interface TierChange {
  key: BlockHash;
  tierBits: number;
}

/** Beyond this, new blocks are not followed: 16 million tokens in blocks of 16. */
const MAX_BLOCKS = 1 << 20;
/** Real engines have a few groups; more are a fault. */
const MAX_GROUPS = 64;
/** A lower tier names a block once for each piece of it that is stored. */
const LOWER_TIERS = [TIER.host, TIER.disk, TIER.store] as const;

interface Held {
  bits: number;
  /** At index i how many pieces lie on LOWER_TIERS[i]. */
  pieces: number[];
}

export class HeldBlocks {
  readonly #held = new Map<BlockHash, Held>();
  /** Groups of KV whose blocks are no prefix's. */
  readonly #otherGroups = new Set<number>();
  readonly #most: number;
  #left = 0;

  constructor(most = MAX_BLOCKS) {
    this.#most = most;
  }

  get size(): number {
    return this.#held.size;
  }

  /** Blocks that found no room here, since all was forgotten last. */
  get leftOut(): number {
    return this.#left;
  }

  bitsOf(key: BlockHash): number {
    return this.#held.get(key)?.bits ?? 0;
  }

  /** In the order of the events; a block that left and came back within them is named each time. */
  apply(event: KvEvent): TierChange[] {
    if (event.type === "cleared") return this.clear();
    return event.type === "stored" ? this.#store(event) : this.#remove(event);
  }

  clear(): TierChange[] {
    const changes = Array.from(this.#held.keys(), (key) => ({ key, tierBits: 0 }));
    this.#held.clear();
    this.#left = 0;
    return changes;
  }

  #store({ keys, tier, group, isPrefix }: StoredBlocks): TierChange[] {
    if (!isPrefix) {
      if (this.#otherGroups.size < MAX_GROUPS) this.#otherGroups.add(group);
      return [];
    }
    const changes: TierChange[] = [];
    for (const key of keys) {
      const held = this.#held.get(key) ?? { bits: 0, pieces: [0, 0, 0] };
      if (held.bits === 0 && this.#held.size >= this.#most) {
        this.#left += 1;
        continue;
      }
      const lower = lowerIndex(tier);
      if (lower >= 0) held.pieces[lower] = (held.pieces[lower] ?? 0) + 1;
      this.#held.set(key, held);
      this.#change(changes, key, held, held.bits | tier);
    }
    return changes;
  }

  #remove({ keys, tier, group }: RemovedBlocks): TierChange[] {
    if (this.#otherGroups.has(group)) return [];
    const changes: TierChange[] = [];
    for (const key of keys) {
      const held = this.#held.get(key);
      if (held === undefined) continue;
      const lower = lowerIndex(tier);
      if (lower >= 0) {
        held.pieces[lower] = Math.max(0, (held.pieces[lower] ?? 0) - 1);
        if ((held.pieces[lower] ?? 0) > 0) continue;
      }
      this.#change(changes, key, held, held.bits & ALL_TIERS & ~tier);
    }
    return changes;
  }

  #change(changes: TierChange[], key: BlockHash, held: Held, bits: number): void {
    if (held.bits === bits) return;
    held.bits = bits;
    if (bits === 0) this.#held.delete(key);
    changes.push({ key, tierBits: bits });
  }
}

/** -1: the device tier, which names each block once. */
function lowerIndex(tier: number): number {
  return LOWER_TIERS.findIndex((lower) => lower === tier);
}
