import { ALL_TIERS, MAX_REPLICAS } from "./segment-index.ts";
import type { IndexCheckpoint, Overlap, PartBytes, ResidencyEntry, SegmentIndex } from "./segment-index.ts";
import { readParts, writeDirectory } from "./checkpoint.ts";
import { victimsOf } from "./evict.ts";
import { OverlapScan } from "./overlap.ts";
import { PART_BYTES, PART_FULL, PART_SLOTS, Part, packMeta, replicaOf, tiersOf, TOUCHED_MASK } from "./part.ts";

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
  #changes = 0;
  /** Entries by replica. */
  readonly #counts = new Uint32Array(MAX_REPLICAS);
  readonly #wide = new BigUint64Array(1);
  /** Its low and high half, signed, little-endian as every machine this runs on. */
  readonly #halves = new Int32Array(this.#wide.buffer);
  readonly #scan = new OverlapScan();

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

  get changes(): number {
    return this.#changes;
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
    const { hi, lo } = this.#split64(hash);
    const meta = packMeta(replica, tierBits, this.#now);
    let part = this.#partOf(hi);
    let at = part.find(hi, lo, replica);
    if (at >= 0) {
      part.replaceAt(at, tokens, meta);
      return;
    }
    while (part.used >= PART_FULL) {
      this.#makeRoom(part);
      part = this.#partOf(hi);
      at = part.find(hi, lo, replica);
    }
    part.insertAt(~at, hi, lo, tokens, meta);
    this.#add(replica, 1);
  }

  remove(hash: bigint, replica: number): boolean {
    const { hi, lo } = this.#split64(hash);
    const part = this.#partOf(hi);
    const at = part.find(hi, lo, replica);
    if (at < 0) return false;
    part.removeAt(at);
    this.#add(replica, -1);
    return true;
  }

  tiersOf(hash: bigint, replica: number): number {
    const { hi, lo } = this.#split64(hash);
    const part = this.#partOf(hi);
    const at = part.find(hi, lo, replica);
    return at < 0 ? 0 : tiersOf(part.metaAt(at));
  }

  forgetReplica(replica: number): number {
    const before = this.count(replica);
    if (before === 0) return 0;
    for (const part of this.#parts) this.#drop(part, (_tokens, meta) => replicaOf(meta) === replica);
    if (this.size === 0) this.#reset();
    return before;
  }

  overlap(chain: BigUint64Array): Overlap {
    const scan = this.#scan;
    scan.begin();
    let alive = 0;
    for (const count of this.#counts) if (count > 0) alive++;
    // Pairs (lo, hi): no bigint is made.
    const halves = new Int32Array(chain.buffer, chain.byteOffset, chain.length * 2);
    const length = Math.min(chain.length, MOST_SEGMENTS);
    for (let depth = 0; depth < length && alive > 0; depth++) {
      const hi = halves[depth * 2 + 1] ?? 0;
      alive = scan.step(this.#partOf(hi).words, depth, hi, halves[depth * 2] ?? 0, alive, this.#now);
    }
    return scan.end();
  }

  *entries(replica: number): Generator<ResidencyEntry> {
    for (const part of this.#parts) {
      const found: ResidencyEntry[] = [];
      part.forEach((tokens, meta, hi, lo) => {
        if (replicaOf(meta) === replica) found.push({ hash: this.#join64(hi, lo), tierBits: tiersOf(meta), tokens });
      });
      yield* found;
    }
  }

  scanHashes(visit: (hi: number, lo: number) => void): void {
    for (const part of this.#parts) part.forEach((_tokens, _meta, hi, lo) => visit(hi, lo));
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
      part.forEach((_tokens, meta) => this.#add(replicaOf(meta), 1));
    }
    return true;
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
    part.removeIf((tokens, meta, hi, lo) => {
      if (this.#partOf(hi) === part) return false;
      sibling.append(hi, lo, tokens, meta);
      return true;
    });
  }

  /** Removes what `isGone` says; how many. */
  #drop(part: Part, isGone: (tokens: number, meta: number) => boolean): number {
    return part.removeIf((tokens, meta) => {
      const gone = isGone(tokens, meta);
      if (gone) this.#add(replicaOf(meta), -1);
      return gone;
    });
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

  #add(replica: number, entries: number): void {
    this.#changes++;
    this.#counts[replica] = this.count(replica) + entries;
  }

  #split64(hash: bigint): { hi: number; lo: number } {
    this.#wide[0] = hash;
    return { hi: this.#halves[1] ?? 0, lo: this.#halves[0] ?? 0 };
  }

  #join64(hi: number, lo: number): bigint {
    this.#halves[0] = lo;
    this.#halves[1] = hi;
    return this.#wide[0] ?? 0n;
  }

  #reset(): void {
    const only = new Part(0, 0, 0);
    this.#parts = [only];
    this.#rows = [only];
    this.#depth = 0;
    this.#counts.fill(0);
  }
}
