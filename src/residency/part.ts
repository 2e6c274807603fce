/** Slots of one part: 65,536 of four 32-bit words, 1 MiB. */
export const PART_SLOTS = 65_536;
export const PART_BYTES = PART_SLOTS * 16;
/** A part never holds more, so every probe run ends. */
export const PART_FULL = Math.floor(PART_SLOTS * 0.8);
const WORDS = PART_SLOTS * 4;
const WRAP = WORDS - 1;

const REPLICA_MASK = 63;
const TIER_SHIFT = 6;
const TIER_MASK = 15;
const TOUCHED_SHIFT = 10;
export const TOUCHED_MASK = 0xffff;

/** The fourth word: replica 6 bits | tier 4 bits | touched 16 bits. Never 0, as an entry has a tier: 0 marks an empty slot. */
export function packMeta(replica: number, tierBits: number, touched: number): number {
  return replica | (tierBits << TIER_SHIFT) | ((touched & TOUCHED_MASK) << TOUCHED_SHIFT);
}
export function replicaOf(meta: number): number {
  return meta & REPLICA_MASK;
}
export function tiersOf(meta: number): number {
  return (meta >>> TIER_SHIFT) & TIER_MASK;
}
export function touchedOf(meta: number): number {
  return (meta >>> TOUCHED_SHIFT) & TOUCHED_MASK;
}

/**
 * Open addressing with linear probing over slots (hi, lo, tokens, meta); a slot's home is `lo & 65535`. Several entries of one hash, one per replica,
 * lie in one probe run. Positions are word offsets of a slot. Whoever adds keeps `used` at or below PART_FULL.
 */
export class Part {
  readonly id: number;
  /** Holds the hashes whose first `depth` bits are `prefix`. */
  depth: number;
  prefix: number;
  used = 0;
  dirty = true;
  words: Uint32Array<ArrayBuffer> = new Uint32Array(WORDS);

  constructor(id: number, depth: number, prefix: number) {
    this.id = id;
    this.depth = depth;
    this.prefix = prefix;
  }

  word(at: number): number {
    return this.words[at] ?? 0;
  }

  /** Position of the pair; or, below 0, the complement (~) of the empty slot where it would go. */
  find(hi: number, lo: number, replica: number): number {
    const words = this.words;
    for (let at = homeOf(lo); ; at = (at + 4) & WRAP) {
      const meta = words[at + 3] ?? 0;
      if (meta === 0) return ~at;
      if (words[at + 1] === lo && words[at] === hi && (meta & REPLICA_MASK) === replica) return at;
    }
  }

  /** Adds at the empty slot `find` named. */
  put(at: number, hi: number, lo: number, tokens: number, meta: number): void {
    const words = this.words;
    words[at] = hi;
    words[at + 1] = lo;
    words[at + 2] = tokens;
    words[at + 3] = meta;
  }

  /** Empties a slot and shifts back what would no longer be found (Knuth 6.4, algorithm R). */
  removeAt(at: number): void {
    const words = this.words;
    let hole = at;
    for (let next = (hole + 4) & WRAP; (words[next + 3] ?? 0) !== 0; next = (next + 4) & WRAP) {
      const home = homeOf(words[next + 1] ?? 0);
      // It may move to the hole only when the hole lies between its home and where it is now.
      if (((next - home) & WRAP) < ((next - hole) & WRAP)) continue;
      words.copyWithin(hole, next, next + 4);
      hole = next;
    }
    words[hole + 3] = 0;
    this.used--;
    this.dirty = true;
  }

  /** Empties the part and gives `place` every entry it had, to put where it belongs. */
  redistribute(place: (hi: number, lo: number, tokens: number, meta: number) => void): void {
    const old = this.words;
    this.words = new Uint32Array(WORDS);
    this.used = 0;
    this.dirty = true;
    for (let at = 0; at < WORDS; at += 4) {
      const meta = old[at + 3] ?? 0;
      if (meta !== 0) place(old[at] ?? 0, old[at + 1] ?? 0, old[at + 2] ?? 0, meta);
    }
  }

  /** Adds an entry that is known not to be here. */
  append(hi: number, lo: number, tokens: number, meta: number): void {
    const words = this.words;
    let at = homeOf(lo);
    while ((words[at + 3] ?? 0) !== 0) at = (at + 4) & WRAP;
    this.put(at, hi, lo, tokens, meta);
    this.used++;
  }

  copyBytes(): Uint8Array {
    return new Uint8Array(this.words.buffer.slice(0));
  }
}

function homeOf(lo: number): number {
  return (lo & (PART_SLOTS - 1)) << 2;
}

/** Positions of all slots in use. */
export function* usedSlots(part: Part): Generator<number> {
  for (let at = 0; at < WORDS; at += 4) if (part.word(at + 3) !== 0) yield at;
}
