import type { ResidencyEntry } from "../../../src/pool/frames.ts";
/** What a mock replica holds: its device's KV cache as segments, least recently used out first, and an archive on its disk that nobody asks for. */

const DEVICE = 1;
const DISK = 4;

export interface PromptSegments {
  hashes: BigUint64Array;
  /** Prompt tokens up to each segment's end. */
  tokenEnds: readonly number[];
}

interface Held {
  /** Up to its end, and its own. */
  tokens: number;
  own: number;
}

export class MockCache {
  readonly #capacityTokens: number;
  readonly #changed: (entry: ResidencyEntry) => void;
  /** Least recently used first. */
  readonly #held = new Map<bigint, Held>();
  #usedTokens = 0;
  #archive = new BigUint64Array(0);
  #archived = 0;

  constructor(capacityTokens: number, changed: (entry: ResidencyEntry) => void) {
    this.#capacityTokens = capacityTokens;
    this.#changed = changed;
  }

  get size(): number {
    return this.#held.size + this.#archived;
  }

  *entries(): Generator<ResidencyEntry> {
    for (const [hash, { tokens }] of this.#held) yield { hash, tokens, tierBits: DEVICE };
    for (let at = 0; at < this.#archived; at++) yield { hash: this.#archive[at] ?? 1n, tokens: archivedTokens(at), tierBits: DISK };
  }

  /** Leading tokens that are held without a gap. */
  cachedTokens({ hashes, tokenEnds }: PromptSegments): number {
    let cached = 0;
    for (const [at, hash] of hashes.entries()) {
      if (!this.#held.has(hash)) break;
      cached = tokenEnds[at] ?? cached;
    }
    return cached;
  }

  /** Computed or used just now. The front counts as used last, so that what lies deeper is evicted first. */
  hold({ hashes, tokenEnds }: PromptSegments): void {
    for (let at = hashes.length - 1; at >= 0; at--) {
      const hash = hashes[at] ?? 1n;
      const known = this.#held.get(hash);
      if (known !== undefined) {
        this.#held.delete(hash);
        this.#held.set(hash, known);
        continue;
      }
      const tokens = tokenEnds[at] ?? 0;
      const own = tokens - (tokenEnds[at - 1] ?? 0);
      this.#held.set(hash, { tokens, own });
      this.#usedTokens += own;
      this.#changed({ hash, tokens, tierBits: DEVICE });
    }
    for (const [hash, { own }] of this.#held) {
      if (this.#usedTokens <= this.#capacityTokens) return;
      this.#held.delete(hash);
      this.#usedTokens -= own;
      this.#changed({ hash, tokens: 0, tierBits: 0 });
    }
  }

  /** The archive is found, a part at a time: `count` segments of prompts that do not come again. */
  reserveArchive(count: number): void {
    this.#archive = new BigUint64Array(count);
    this.#archived = 0;
  }

  /** How many are left to find. */
  findArchived(count: number, randomHash: () => bigint): number {
    const end = Math.min(this.#archive.length, this.#archived + count);
    for (; this.#archived < end; this.#archived++) {
      const hash = randomHash();
      this.#archive[this.#archived] = hash;
      this.#changed({ hash, tokens: archivedTokens(this.#archived), tierBits: DISK });
    }
    return this.#archive.length - this.#archived;
  }

  /** All is gone, and nobody is told: a new epoch says so. */
  clear(): void {
    this.#held.clear();
    this.#usedTokens = 0;
    this.reserveArchive(0);
  }
}

const archivedTokens = (at: number): number => (1 + (at % 16)) * 60;
