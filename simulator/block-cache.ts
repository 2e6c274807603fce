/**
 * The KV cache of one simulated replica: which segments lie on its device and in host memory, in whole blocks. Least recently used first, leaves before
 * what they hang on: whoever uses a segment uses all before it, and lets go of the last one first, so the order of the list is enough.
 */
import type { SegmentTree } from "./plan.ts";

const NONE = -1;
const ABSENT = 0;
/** Claimed by a sequence that is computing it. */
const COMPUTING = 1;
const READY = 2;

/** As in a residency entry. */
export const DEVICE_BIT = 1;
const HOST_BIT = 2;

/** A doubly linked list of segment numbers, oldest first. */
class AgeList {
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  #first = NONE;
  #last = NONE;

  constructor(segments: number) {
    this.#next = new Int32Array(segments).fill(NONE);
    this.#previous = new Int32Array(segments).fill(NONE);
  }

  get oldest(): number {
    return this.#first;
  }

  push(segment: number): void {
    this.#previous[segment] = this.#last;
    this.#next[segment] = NONE;
    if (this.#last === NONE) this.#first = segment;
    else this.#next[this.#last] = segment;
    this.#last = segment;
  }

  remove(segment: number): void {
    const previous = this.#previous[segment] ?? NONE;
    const next = this.#next[segment] ?? NONE;
    if (previous === NONE) this.#first = next;
    else this.#next[previous] = next;
    if (next === NONE) this.#last = previous;
    else this.#previous[next] = previous;
  }
}

interface CacheSize {
  blockTokens: number;
  deviceTokens: number;
  /** 0: no host tier. */
  hostTokens: number;
}

export class BlockCache {
  readonly capacityBlocks: number;
  readonly #hostCapacityBlocks: number;
  readonly #blocks: Uint16Array;
  readonly #ends: Uint32Array;
  readonly #blockTokens: number;
  readonly #state: Uint8Array;
  readonly #onHost: Uint8Array;
  readonly #users: Uint16Array;
  readonly #idle: AgeList;
  readonly #host: AgeList | null;
  /** Segments whose tiers changed since `takeChanges`, each once. */
  #changes: number[] = [];
  readonly #changed: Uint8Array;
  #usedBlocks = 0;
  #idleBlocks = 0;
  #hostBlocks = 0;
  #heldSegments = 0;

  constructor({ starts, ends }: SegmentTree, { blockTokens, deviceTokens, hostTokens }: CacheSize) {
    const count = starts.length;
    this.#ends = ends;
    this.#blockTokens = blockTokens;
    this.capacityBlocks = Math.floor(deviceTokens / blockTokens);
    this.#hostCapacityBlocks = Math.floor(hostTokens / blockTokens);
    this.#blocks = Uint16Array.from(
      { length: count },
      (_, at) => Math.floor((ends[at] ?? 0) / blockTokens) - Math.floor((starts[at] ?? 0) / blockTokens),
    );
    this.#state = new Uint8Array(count);
    this.#onHost = new Uint8Array(count);
    this.#users = new Uint16Array(count);
    this.#changed = new Uint8Array(count);
    this.#idle = new AgeList(count);
    this.#host = this.#hostCapacityBlocks > 0 ? new AgeList(count) : null;
  }

  /** Of running sequences and cached ones. */
  get usedBlocks(): number {
    return this.#usedBlocks;
  }

  /** Of running sequences only. */
  get liveBlocks(): number {
    return this.#usedBlocks - this.#idleBlocks;
  }

  /** Free, or cached for nobody in particular. */
  get availableBlocks(): number {
    return this.capacityBlocks - this.#usedBlocks + this.#idleBlocks;
  }

  get hostBlocks(): number {
    return this.#hostBlocks;
  }

  /** Segments on any tier. */
  get heldSegments(): number {
    return this.#heldSegments;
  }

  blocksOf(segment: number): number {
    return this.#blocks[segment] ?? 0;
  }

  /** Token position at which its last whole block ends: what lies behind has no block that others could use. */
  wholeEnd(segment: number): number {
    return Math.floor((this.#ends[segment] ?? 0) / this.#blockTokens) * this.#blockTokens;
  }

  tierBits(segment: number): number {
    return (this.#state[segment] === READY ? DEVICE_BIT : 0) | (this.#onHost[segment] === 1 ? HOST_BIT : 0);
  }

  isReady(segment: number): boolean {
    return this.#state[segment] === READY;
  }

  isAbsent(segment: number): boolean {
    return this.#state[segment] === ABSENT;
  }

  /** Leading segments that are ready on the device. */
  onDevice(path: Int32Array, most: number): number {
    let count = 0;
    while (count < most && this.#state[path[count] ?? 0] === READY) count++;
    return count;
  }

  /** From there on, how far host memory (or the device) goes on without a gap. */
  onHost(path: Int32Array, from: number, most: number): number {
    let count = from;
    while (count < most && this.#state[path[count] ?? 0] !== COMPUTING && this.tierBits(path[count] ?? 0) !== 0) count++;
    return count;
  }

  /** One more sequence uses a ready segment. */
  use(segment: number): void {
    const users = this.#users[segment] ?? 0;
    this.#users[segment] = users + 1;
    if (users > 0) return;
    this.#idle.remove(segment);
    this.#idleBlocks -= this.blocksOf(segment);
  }

  /** One sequence fewer. What was claimed and never became ready is dropped. */
  drop(segment: number): void {
    const users = (this.#users[segment] ?? 1) - 1;
    this.#users[segment] = users;
    if (users > 0) return;
    if (this.#state[segment] === READY) {
      this.#idle.push(segment);
      this.#idleBlocks += this.blocksOf(segment);
      return;
    }
    this.#state[segment] = ABSENT;
    this.#usedBlocks -= this.blocksOf(segment);
  }

  /** Takes blocks, evicting as needed; false, and nothing evicted, when there are too few. */
  reserve(blocks: number): boolean {
    if (blocks > this.availableBlocks) return false;
    while (this.capacityBlocks - this.#usedBlocks < blocks) this.#evict();
    this.#usedBlocks += blocks;
    return true;
  }

  giveBack(blocks: number): void {
    this.#usedBlocks -= blocks;
  }

  /** Reserved blocks become this absent segment's, used by one sequence that computes it. */
  claim(segment: number): void {
    this.#state[segment] = COMPUTING;
    this.#users[segment] = 1;
  }

  /** Computed, loaded or fetched. */
  markReady(segment: number): void {
    if (this.#state[segment] === READY) return;
    this.#note(segment, () => (this.#state[segment] = READY));
    if (this.#onHost[segment] === 1) this.#touchHost(segment);
  }

  #evict(): void {
    const segment = this.#idle.oldest;
    this.#idle.remove(segment);
    const blocks = this.blocksOf(segment);
    this.#idleBlocks -= blocks;
    this.#usedBlocks -= blocks;
    this.#note(segment, () => {
      this.#state[segment] = ABSENT;
      this.#demote(segment, blocks);
    });
  }

  #demote(segment: number, blocks: number): void {
    const host = this.#host;
    if (host === null || blocks > this.#hostCapacityBlocks) return;
    if (this.#onHost[segment] === 1) return this.#touchHost(segment);
    while (this.#hostBlocks + blocks > this.#hostCapacityBlocks) {
      const oldest = host.oldest;
      host.remove(oldest);
      this.#hostBlocks -= this.blocksOf(oldest);
      this.#note(oldest, () => (this.#onHost[oldest] = 0));
    }
    this.#onHost[segment] = 1;
    this.#hostBlocks += blocks;
    host.push(segment);
  }

  #touchHost(segment: number): void {
    this.#host?.remove(segment);
    this.#host?.push(segment);
  }

  #note(segment: number, change: () => void): void {
    const before = this.tierBits(segment);
    change();
    const after = this.tierBits(segment);
    if (before === 0 && after !== 0) this.#heldSegments++;
    if (before !== 0 && after === 0) this.#heldSegments--;
    if (before === after || this.#changed[segment] === 1) return;
    this.#changed[segment] = 1;
    this.#changes.push(segment);
  }

  /** Their tiers are read with `tierBits`. */
  takeChanges(): number[] {
    const changes = this.#changes;
    if (changes.length > 0) this.#changes = [];
    for (const segment of changes) this.#changed[segment] = 0;
    return changes;
  }
}
