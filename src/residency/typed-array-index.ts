import { ALL_TIERS, MAX_REPLICAS, TIER } from "./segment-index.ts";
import type { IndexCheckpoint, Overlap, PartBytes, ResidencyEntry, SegmentIndex } from "./segment-index.ts";
import { readParts, writeDirectory } from "./checkpoint.ts";
import { victimsOf } from "./evict.ts";
import { PART_BYTES, PART_FULL, PART_SLOTS, Part, packMeta, replicaOf, tiersOf, TOUCHED_MASK, touchedOf, usedSlots } from "./part.ts";

export interface SegmentIndexOptions {
  /** Parts of 1 MiB; 40 by default, as several objects may share one isolate of 128 MB. */
  maxParts?: number;
}

/** Deepest split: 2^16 directory rows. Deeper only with hashes made to collide; such a part evicts. */
const MAX_DEPTH = 16;
/** Given up at once when a part is full and may not split: 1/16 of it. */
const EVICT_AT_ONCE = PART_SLOTS / 16;
const MOST_SEGMENTS = 0xffff;

export function createSegmentIndex(options: SegmentIndexOptions = {}): SegmentIndex {
  return new TypedArrayIndex(options.maxParts ?? 40);
}

/** Null when the checkpoint does not fit together: start empty and ask for resync. */
export function restoreSegmentIndex(options: SegmentIndexOptions, directory: string, parts: Iterable<PartBytes>): SegmentIndex | null {
  const index = createSegmentIndex(options);
  return index.load(directory, parts) ? index : null;
}

/**
 * Extendible hashing: the first `depth` bits of a hash choose a part of 1 MiB, linear probing finds the entry in it. A part 80 % full splits by one more
 * bit; at the cap it gives up its least recently touched entries. No rehash ever needs old and new table together.
 */
class TypedArrayIndex implements SegmentIndex {
  readonly #maxParts: number;
  /** 2^#depth rows: first bits of a hash → part. */
  #rows: Part[] = [];
  #parts: Part[] = [];
  #depth = 0;
  #now = 0;
  #evicted = 0;
  readonly #counts = new Uint32Array(MAX_REPLICAS);
  readonly #wide = new BigUint64Array(1);
  readonly #narrow = new Uint32Array(this.#wide.buffer);
  readonly #overlap: Overlap = {
    segments: new Uint16Array(MAX_REPLICAS),
    tokens: new Uint32Array(MAX_REPLICAS),
    deviceSegments: new Uint16Array(MAX_REPLICAS),
    deviceTokens: new Uint32Array(MAX_REPLICAS),
  };

  constructor(maxParts: number) {
    if (!(Number.isInteger(maxParts) && maxParts >= 1)) throw new RangeError(`maxParts must be a whole number from 1, not ${maxParts}`);
    this.#maxParts = maxParts;
    this.#reset();
  }

  get size(): number {
    let size = 0;
    for (const part of this.#parts) size += part.used;
    return size;
  }

  get bytes(): number {
    return this.#parts.length * PART_BYTES;
  }

  get evicted(): number {
    return this.#evicted;
  }

  count(replica: number): number {
    return this.#counts[replica] ?? 0;
  }

  tick(now: number): void {
    this.#now = Math.floor(now) & TOUCHED_MASK;
  }

  set(hash: bigint, replica: number, tierBits: number, tokens: number): void {
    if (!(Number.isInteger(replica) && replica >= 0 && replica < MAX_REPLICAS))
      throw new RangeError(`replica slot ${replica} is not 0 … 63`);
    if (!(Number.isInteger(tierBits) && tierBits >= 0 && tierBits <= ALL_TIERS))
      throw new RangeError(`tier bits ${tierBits} are not 0 … 15`);
    if (tierBits === 0) {
      this.remove(hash, replica);
      return;
    }
    if (hash === 0n) return;
    const [hi, lo] = this.#halves(hash);
    let part = this.#partOf(hi);
    let at = part.find(hi, lo, replica);
    const meta = packMeta(replica, tierBits, this.#now);
    if (at >= 0) {
      // A touch alone is not worth a write.
      if (part.word(at + 2) !== tokens || tiersOf(part.word(at + 3)) !== tierBits) part.dirty = true;
      part.put(at, hi, lo, tokens, meta);
      return;
    }
    while (part.used >= PART_FULL) {
      this.#makeRoom(part);
      part = this.#partOf(hi);
      at = part.find(hi, lo, replica);
    }
    part.put(~at, hi, lo, tokens, meta);
    part.used++;
    part.dirty = true;
    this.#counts[replica] = this.count(replica) + 1;
  }

  remove(hash: bigint, replica: number): boolean {
    const [hi, lo] = this.#halves(hash);
    const part = this.#partOf(hi);
    const at = part.find(hi, lo, replica);
    if (at < 0) return false;
    part.removeAt(at);
    this.#counts[replica] = this.count(replica) - 1;
    return true;
  }

  tiersOf(hash: bigint, replica: number): number {
    const [hi, lo] = this.#halves(hash);
    const part = this.#partOf(hi);
    const at = part.find(hi, lo, replica);
    return at < 0 ? 0 : tiersOf(part.word(at + 3));
  }

  forgetReplica(replica: number): number {
    const before = this.count(replica);
    if (before === 0) return 0;
    for (const part of this.#parts) this.#drop(part, (_tokens, meta) => replicaOf(meta) === replica);
    if (this.size === 0) this.#reset();
    return before;
  }

  overlap(chain: BigUint64Array): Overlap {
    const { segments, tokens, deviceSegments, deviceTokens } = this.#overlap;
    for (const array of [segments, tokens, deviceSegments, deviceTokens]) array.fill(0);
    let alive = 0;
    for (const count of this.#counts) if (count > 0) alive++;
    // Little-endian pairs (lo, hi): no bigint is made.
    const halves = new Uint32Array(chain.buffer, chain.byteOffset, chain.length * 2);
    const length = Math.min(chain.length, MOST_SEGMENTS);
    for (let depth = 0; depth < length && alive > 0; depth++)
      alive = this.#overlapAt(depth, halves[depth * 2 + 1] ?? 0, halves[depth * 2] ?? 0, alive);
    return this.#overlap;
  }

  *entries(replica: number): Generator<ResidencyEntry> {
    for (const part of this.#parts)
      for (const at of usedSlots(part)) {
        const meta = part.word(at + 3);
        if (replicaOf(meta) !== replica) continue;
        this.#narrow[0] = part.word(at + 1);
        this.#narrow[1] = part.word(at);
        yield { hash: this.#wide[0] ?? 0n, tierBits: tiersOf(meta), tokens: part.word(at + 2) };
      }
  }

  dirtyParts(): PartBytes[] {
    return this.#parts.filter((part) => part.dirty).map((part) => ({ id: part.id, data: part.copyBytes() }));
  }

  partIds(): number[] {
    return this.#parts.map((part) => part.id);
  }

  checkpoint(): IndexCheckpoint {
    return { directory: writeDirectory(this.#parts), parts: this.dirtyParts() };
  }

  clean(): void {
    for (const part of this.#parts) part.dirty = false;
  }

  load(directory: string, parts: Iterable<PartBytes>): boolean {
    this.#reset();
    const read = readParts(directory, parts, this.#maxParts, MAX_DEPTH);
    if (read === null) return false;
    this.#parts = read;
    this.#depth = Math.max(...read.map((part) => part.depth));
    this.#rows = [];
    for (const part of read) {
      this.#point(part);
      for (const at of usedSlots(part)) {
        const replica = replicaOf(part.word(at + 3));
        this.#counts[replica] = this.count(replica) + 1;
      }
    }
    return true;
  }

  /** The segment at `depth` of a chain: marks who holds it and all before it; how many those are. At most `alive` can be. */
  #overlapAt(depth: number, hi: number, lo: number, alive: number): number {
    const { segments, tokens, deviceSegments, deviceTokens } = this.#overlap;
    const words = this.#partOf(hi).words;
    const now = this.#now;
    let found = 0;
    const wrap = words.length - 1;
    for (let at = (lo & (PART_SLOTS - 1)) << 2; ; at = (at + 4) & wrap) {
      const meta = words[at + 3] ?? 0;
      if (meta === 0) return found;
      if (words[at + 1] !== lo || words[at] !== hi) continue;
      const replica = meta & 63;
      if (segments[replica] !== depth) continue;
      const position = words[at + 2] ?? 0;
      segments[replica] = depth + 1;
      tokens[replica] = position;
      const tiers = tiersOf(meta);
      if ((tiers & TIER.device) !== 0 && deviceSegments[replica] === depth) {
        deviceSegments[replica] = depth + 1;
        deviceTokens[replica] = position;
      }
      // Not dirty for this: a lost touch costs nothing.
      if (touchedOf(meta) !== now) words[at + 3] = packMeta(replica, tiers, now);
      if (++found === alive) return found;
    }
  }

  #makeRoom(part: Part): void {
    if (this.#parts.length < this.#maxParts && part.depth < MAX_DEPTH) this.#split(part);
    else this.#evicted += this.#drop(part, victimsOf(part, EVICT_AT_ONCE, this.#now));
  }

  #split(part: Part): void {
    part.depth++;
    part.prefix *= 2;
    const sibling = new Part(this.#freeId(), part.depth, part.prefix + 1);
    this.#parts.push(sibling);
    if (part.depth > this.#depth) {
      this.#rows = this.#rows.flatMap((row) => [row, row]);
      this.#depth = part.depth;
    }
    this.#point(sibling);
    part.redistribute((hi, lo, tokens, meta) => this.#partOf(hi).append(hi, lo, tokens, meta));
  }

  /** Removes what `isGone` says; how many. */
  #drop(part: Part, isGone: (tokens: number, meta: number) => boolean): number {
    const before = part.used;
    const wasDirty = part.dirty;
    part.redistribute((hi, lo, tokens, meta) => {
      if (!isGone(tokens, meta)) part.append(hi, lo, tokens, meta);
      else this.#counts[replicaOf(meta)] = this.count(replicaOf(meta)) - 1;
    });
    part.dirty = wasDirty || part.used !== before;
    return before - part.used;
  }

  /** Lets the directory rows of a part's prefix point at it. */
  #point(part: Part): void {
    const span = 2 ** (this.#depth - part.depth);
    for (let row = part.prefix * span; row < (part.prefix + 1) * span; row++) this.#rows[row] = part;
  }

  #partOf(hi: number): Part {
    const part = this.#depth === 0 ? this.#rows[0] : this.#rows[hi >>> (32 - this.#depth)];
    if (part === undefined) throw new Error("the directory has a row without a part");
    return part;
  }

  #freeId(): number {
    const taken = new Set(this.partIds());
    let id = 0;
    while (taken.has(id)) id++;
    return id;
  }

  #halves(hash: bigint): [hi: number, lo: number] {
    this.#wide[0] = hash;
    return [this.#narrow[1] ?? 0, this.#narrow[0] ?? 0];
  }

  #reset(): void {
    const only = new Part(0, 0, 0);
    this.#parts = [only];
    this.#rows = [only];
    this.#depth = 0;
    this.#counts.fill(0);
  }
}
