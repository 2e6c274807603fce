import type { SegmentHash } from "../prefix/chain.ts";
import { MAX_REPLICAS, PAGES, type Overlap, type ResidencyEntry, type SegmentIndex, type StorableIndex } from "./segment-index.ts";
import { ALL_TIERS } from "./tiers.ts";
import { Ages, type AgeState } from "./ages.ts";
import { ChangeLog, ENTRY_BYTES } from "./change-log.ts";
import { Directory, ROWS } from "./directory.ts";
import { victimsOf } from "./evict.ts";
import { OverlapScan } from "./overlap.ts";
import { PART_BYTES, PART_EASY, PART_FULL, PART_SLOTS, type Part, packMeta, replicaOf, tiersOf } from "./part.ts";

interface SegmentIndexOptions {
  /** Parts of 1 MiB, 52,428 entries each; 40 by default, as several objects may share one isolate of 128 MB. */
  maxParts?: number;
}

/** Given up at once when a part is full and no other has room: 1/32 of it. */
const EVICT_AT_ONCE = PART_SLOTS / 32;
const MOST_SEGMENTS = 0xffff;
const DEFAULT_PARTS = 40;
const PAGE_BITS = Math.log2(PAGES);

export function createSegmentIndex({ maxParts = DEFAULT_PARTS }: SegmentIndexOptions = {}): SegmentIndex {
  return new TypedArrayIndex(maxParts, null);
}

/** One that logs its changes for a checkpoint. */
export function createStorableIndex({ maxParts = DEFAULT_PARTS }: SegmentIndexOptions = {}): StorableIndex {
  return new TypedArrayIndex(maxParts, new ChangeLog());
}

/** The first bits of a hash choose a part of 1 MiB (directory.ts), linear probing finds the entry in it. */
class TypedArrayIndex implements StorableIndex {
  readonly #maxParts: number;
  readonly #log: ChangeLog | null;
  readonly #ages = new Ages();
  #directory: Directory;
  #now = 0;
  #evicted = 0;
  #changes = 0;
  /** Entries by replica. */
  readonly #counts = new Uint32Array(MAX_REPLICAS);
  readonly #wide = new BigUint64Array(1);
  /** Its low and high half, signed, little-endian as every machine this runs on. */
  readonly #halves = new Int32Array(this.#wide.buffer);
  readonly #scan = new OverlapScan();

  constructor(maxParts: number, log: ChangeLog | null) {
    if (!(Number.isInteger(maxParts) && maxParts >= 1 && maxParts <= ROWS))
      throw new RangeError(`maxParts must be a whole number from 1 to ${ROWS}, not ${maxParts}`);
    this.#maxParts = maxParts;
    this.#log = log;
    this.#directory = new Directory(maxParts, 1);
  }

  get size(): number {
    let size = 0;
    for (const part of this.#directory.parts) size += part.used;
    return size;
  }

  get bytes(): number {
    return this.#directory.parts.length * PART_BYTES;
  }

  get places(): number {
    return this.#maxParts * PART_FULL;
  }

  get changes(): number {
    return this.#changes;
  }

  get evicted(): number {
    return this.#evicted;
  }

  get log(): ChangeLog {
    if (this.#log === null) throw new Error("this index keeps no log");
    return this.#log;
  }

  get ages(): AgeState {
    return this.#ages.state;
  }

  count(replica: number): number {
    return this.#counts[replica] ?? 0;
  }

  tick(seconds: number): void {
    this.#ages.tick(seconds, this.#directory.parts);
    this.#now = this.#ages.now;
  }

  set(hash: SegmentHash, replica: number, tierBits: number, tokens: number): void {
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
    if (this.#put(hi, lo, tokens, meta)) this.#log?.add(hi, lo, tokens, meta);
  }

  remove(hash: SegmentHash, replica: number): boolean {
    const { hi, lo } = this.#split64(hash);
    const gone = this.#remove(hi, lo, replica);
    if (gone) this.#log?.add(hi, lo, 0, replica);
    return gone;
  }

  tiersOf(hash: SegmentHash, replica: number): number {
    const { hi, lo } = this.#split64(hash);
    const part = this.#directory.partOf(hi);
    const at = part.find(hi, lo, replica);
    return at < 0 ? 0 : tiersOf(part.metaAt(at));
  }

  forgetReplica(replica: number): number {
    const before = this.count(replica);
    if (before === 0) return 0;
    for (const part of this.#directory.parts) this.#add(replica, -part.removeReplica(replica));
    this.#log?.add(0, 0, 0, replica);
    if (this.size === 0) this.#directory = new Directory(this.#maxParts, 1);
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
    const directory = this.#directory;
    for (let depth = 0; depth < length && alive > 0; depth++) {
      const hi = halves[depth * 2 + 1] ?? 0;
      alive = scan.step(directory.partOf(hi).words, depth, hi, halves[depth * 2] ?? 0, alive, this.#now);
    }
    return scan.end();
  }

  *entries(replica: number): Generator<ResidencyEntry> {
    for (const part of this.#directory.parts) {
      const found: ResidencyEntry[] = [];
      part.forEach((tokens, meta, hi, lo) => {
        if (replicaOf(meta) === replica) found.push({ hash: this.#join64(hi, lo), tierBits: tiersOf(meta), tokens });
      });
      yield* found;
    }
  }

  scanHashes(visit: (hi: number, lo: number) => void): void {
    for (const part of this.#directory.parts) part.forEach((_tokens, _meta, hi, lo) => visit(hi, lo));
  }

  page(page: number): Int32Array<ArrayBuffer> {
    const rows = ROWS / PAGES;
    const parts = this.#directory.partsOf(page * rows, (page + 1) * rows);
    let most = 0;
    for (const part of parts) most += part.used;
    const words = new Int32Array((most * ENTRY_BYTES) / 4);
    let filled = 0;
    for (const part of parts) filled = part.copyTo(words, filled, PAGE_BITS, page);
    return words.slice(0, filled);
  }

  restart(entries: number, ages: AgeState): void {
    const parts = Math.min(this.#maxParts, Math.max(1, Math.ceil(entries / (PART_EASY * 0.9))));
    this.#directory = new Directory(this.#maxParts, parts);
    this.#counts.fill(0);
    this.#changes++;
    this.#log?.clear();
    this.#ages.restore(ages);
    this.#now = ages.now;
  }

  put(hi: number, lo: number, tokens: number, meta: number): void {
    if (tiersOf(meta) === 0) this.#remove(hi, lo, replicaOf(meta));
    else this.#put(hi, lo, tokens >>> 0, meta);
  }

  /** False when only the touch is new. */
  #put(hi: number, lo: number, tokens: number, meta: number): boolean {
    const replica = replicaOf(meta);
    let part = this.#directory.partOf(hi);
    let at = part.find(hi, lo, replica);
    if (at >= 0) return part.replaceAt(at, tokens, meta);
    while (part.used >= part.limit) {
      if (!this.#directory.makeRoom(part)) this.#evict(part);
      part = this.#directory.partOf(hi);
      at = part.find(hi, lo, replica);
    }
    part.insertAt(~at, hi, lo, tokens, meta);
    this.#add(replica, 1);
    return true;
  }

  #remove(hi: number, lo: number, replica: number): boolean {
    const part = this.#directory.partOf(hi);
    const at = part.find(hi, lo, replica);
    if (at < 0) return false;
    part.removeAt(at);
    this.#add(replica, -1);
    return true;
  }

  #evict(part: Part): void {
    const isVictim = victimsOf(part, EVICT_AT_ONCE);
    this.#evicted += part.removeIf((tokens, meta, hi, lo) => {
      if (!isVictim(tokens, meta)) return false;
      this.#add(replicaOf(meta), -1);
      this.#log?.add(hi, lo, 0, replicaOf(meta));
      return true;
    });
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
}
