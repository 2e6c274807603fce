import { ALL_TIERS } from "./tiers.ts";

/** Slots of one part: 65,536 of four 32-bit words, 1 MiB. */
export const PART_SLOTS = 65_536;
export const PART_BYTES = PART_SLOTS * 16;
/** A part never holds more, so every probe run ends. */
export const PART_FULL = Math.floor(PART_SLOTS * 0.8);
/** Up to here probe runs are short, also where many replicas hold the same hash and their entries lie side by side. */
export const PART_EASY = Math.floor(PART_SLOTS * 0.6);
const WORDS = PART_SLOTS * 4;
/** Word offsets are taken modulo the part's length. */
export const WRAP = WORDS - 1;

const REPLICA_MASK = 63;
const TIER_SHIFT = 6;
const TOUCHED_SHIFT = 10;
/** Latest tick that an entry can carry (ages.ts). */
export const MOST_TOUCHED = 2 ** 22 - 1;

/** The fourth word: replica 6 bits | tier 4 bits | touched 22 bits. Never 0, as an entry has a tier: 0 marks an empty slot. */
export function packMeta(replica: number, tierBits: number, touched: number): number {
  return replica | (tierBits << TIER_SHIFT) | (touched << TOUCHED_SHIFT);
}
export function replicaOf(meta: number): number {
  return meta & REPLICA_MASK;
}
export function tiersOf(meta: number): number {
  return (meta >>> TIER_SHIFT) & ALL_TIERS;
}
export function touchedOf(meta: number): number {
  return meta >>> TOUCHED_SHIFT;
}

/** Offset of the slot where the probe run of a hash begins. */
export function homeOf(lo: number): number {
  return (lo & (PART_SLOTS - 1)) << 2;
}

/**
 * Open addressing with linear probing over slots (hi, lo, tokens, meta). Several entries of one hash, one per replica, lie in one probe run. Words are
 * signed, as engines compare those fastest: hashes' halves come and go as signed numbers, tokens through `>>> 0`. Positions are word offsets of a
 * slot. Whoever adds keeps `used` at or below PART_FULL.
 */
export class Part {
  used = 0;
  /** It is to be relieved at so many entries; at most PART_FULL. */
  limit = PART_EASY;
  readonly words: Int32Array<ArrayBuffer> = new Int32Array(WORDS);

  tokensAt(at: number): number {
    return (this.words[at + 2] ?? 0) >>> 0;
  }

  metaAt(at: number): number {
    return this.words[at + 3] ?? 0;
  }

  /** Position of the pair; or, below 0, the complement (~) of the empty slot where it would go. */
  find(hi: number, lo: number, replica: number): number {
    const words = this.words;
    for (let at = homeOf(lo); ; at = (at + 4) & WRAP) {
      const meta = words[at + 3];
      if (meta === 0 || meta === undefined) return ~at;
      if (words[at + 1] === lo && words[at] === hi && replicaOf(meta) === replica) return at;
    }
  }

  /** Adds at the empty slot `find` named. */
  insertAt(at: number, hi: number, lo: number, tokens: number, meta: number): void {
    const words = this.words;
    words[at] = hi;
    words[at + 1] = lo;
    words[at + 2] = tokens;
    words[at + 3] = meta;
    this.used++;
  }

  /** Adds an entry that is known not to be here. */
  append(hi: number, lo: number, tokens: number, meta: number): void {
    let at = homeOf(lo);
    while (this.words[at + 3] !== 0) at = (at + 4) & WRAP;
    this.insertAt(at, hi, lo, tokens, meta);
  }

  /** What is known of the pair at `at`. False when only its touch is new. */
  replaceAt(at: number, tokens: number, meta: number): boolean {
    const isNew = this.tokensAt(at) !== tokens || tiersOf(this.metaAt(at)) !== tiersOf(meta);
    this.words[at + 2] = tokens;
    this.words[at + 3] = meta;
    return isNew;
  }

  /** Empties a slot and shifts back what would no longer be found (Knuth, The Art of Computer Programming 3, 6.4, algorithm R). */
  removeAt(at: number): void {
    const words = this.words;
    let hole = at;
    for (let next = (hole + 4) & WRAP; words[next + 3] !== 0; next = (next + 4) & WRAP) {
      const home = homeOf(words[next + 1] ?? 0);
      // It may move to the hole only when the hole lies between its home and where it is now.
      if (((next - home) & WRAP) < ((next - hole) & WRAP)) continue;
      for (let word = 0; word < 4; word++) words[hole + word] = words[next + word] ?? 0;
      hole = next;
    }
    words[hole + 3] = 0;
    this.used--;
  }

  /** Removes every entry of which `isGone` says so; how many. It may be asked twice about one that stays. */
  removeIf(isGone: (tokens: number, meta: number, hi: number, lo: number) => boolean): number {
    const before = this.used;
    const words = this.words;
    for (let at = 0; at < WORDS; at += 4) {
      // What is shifted into the slot is looked at next. Only entries seen before can wrap round to behind it.
      while (words[at + 3] !== 0 && isGone(this.tokensAt(at), this.metaAt(at), words[at] ?? 0, words[at + 1] ?? 0)) this.removeAt(at);
    }
    return before - this.used;
  }

  /** Removes every entry of a replica; how many. */
  removeReplica(replica: number): number {
    const before = this.used;
    const words = this.words;
    for (let at = 3; at < WORDS; at += 4) {
      let meta = words[at] ?? 0;
      while (meta !== 0 && (meta & REPLICA_MASK) === replica) {
        this.removeAt(at - 3);
        meta = words[at] ?? 0;
      }
    }
    return before - this.used;
  }

  /** Replaces each entry's fourth word. */
  retouch(metaOf: (meta: number) => number): void {
    const words = this.words;
    for (let at = 3; at < WORDS; at += 4) if (words[at] !== 0) words[at] = metaOf(words[at] ?? 0);
  }

  /** Copies the words of entries whose hash's first `bits` bits are `prefix` to `words` from `filled` on; where they end. */
  copyTo(words: Int32Array, filled: number, bits: number, prefix: number): number {
    const from = this.words;
    for (let at = 0; at < WORDS; at += 4) {
      if (from[at + 3] === 0 || (from[at] ?? 0) >>> (32 - bits) !== prefix) continue;
      words[filled] = from[at] ?? 0;
      words[filled + 1] = from[at + 1] ?? 0;
      words[filled + 2] = from[at + 2] ?? 0;
      words[filled + 3] = from[at + 3] ?? 0;
      filled += 4;
    }
    return filled;
  }

  forEach(visit: (tokens: number, meta: number, hi: number, lo: number) => void): void {
    const words = this.words;
    for (let at = 0; at < WORDS; at += 4)
      if (words[at + 3] !== 0) visit(this.tokensAt(at), this.metaAt(at), words[at] ?? 0, words[at + 1] ?? 0);
  }
}
