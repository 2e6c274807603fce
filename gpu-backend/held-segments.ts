/**
 * Which segments this replica holds, derived from which blocks its engine holds.
 *
 * A segment is anchored to the block that holds its last token. Several blocks may anchor one segment (two prompts that part inside
 * the block); the segment is held while any of them is. Anchors live while a run needs them or their block is held.
 */
import type { EngineKey } from "./engine/engine.ts";
import type { ResidencyEntry } from "../src/wire/residency-frame.ts";

const DEVICE = 1;

export interface Anchor {
  hash: bigint;
  key: EngineKey;
  /** Tokens of the prompt up to the segment's end. */
  tokens: number;
}

interface Block {
  held: boolean;
  /** Runs that named this block and have not ended. */
  runs: number;
  segments: Map<bigint, number>;
}

export class HeldSegments {
  readonly #blocks = new Map<EngineKey, Block>();
  /** hash → tokens and how many held blocks anchor it. */
  readonly #segments = new Map<bigint, { tokens: number; blocks: number }>();
  readonly #changed: (entry: ResidencyEntry) => void;

  constructor(changed: (entry: ResidencyEntry) => void) {
    this.#changed = changed;
  }

  get size(): number {
    return this.#segments.size;
  }

  *entries(): Generator<ResidencyEntry> {
    for (const [hash, { tokens }] of this.#segments) yield { hash, tokens, tierBits: DEVICE };
  }

  /** Names the anchors of a run; those whose block is held already are held from now on. Returns the function that ends the run's interest. */
  anchor(anchors: readonly Anchor[]): () => void {
    const touched = new Set<EngineKey>();
    for (const { hash, key, tokens } of anchors) {
      const block = this.#block(key);
      if (!touched.has(key)) {
        touched.add(key);
        block.runs++;
      }
      if (block.segments.has(hash)) continue;
      block.segments.set(hash, tokens);
      if (block.held) this.#hold(hash, tokens);
    }
    return () => {
      for (const key of touched) {
        const block = this.#blocks.get(key);
        if (block === undefined) continue;
        block.runs--;
        this.#dropUnused(key, block);
      }
      touched.clear();
    };
  }

  blockChanged(key: EngineKey, held: boolean): void {
    const block = this.#block(key);
    if (block.held === held) return;
    block.held = held;
    for (const [hash, tokens] of block.segments) {
      if (held) this.#hold(hash, tokens);
      else this.#letGo(hash);
    }
    this.#dropUnused(key, block);
  }

  /** The engine is empty again. */
  clear(): void {
    this.#blocks.clear();
    this.#segments.clear();
  }

  #block(key: EngineKey): Block {
    let block = this.#blocks.get(key);
    if (block === undefined) this.#blocks.set(key, (block = { held: false, runs: 0, segments: new Map() }));
    return block;
  }

  #dropUnused(key: EngineKey, block: Block): void {
    if (!block.held && block.runs <= 0) this.#blocks.delete(key);
  }

  #hold(hash: bigint, tokens: number): void {
    const segment = this.#segments.get(hash);
    if (segment !== undefined) {
      segment.blocks++;
      return;
    }
    this.#segments.set(hash, { tokens, blocks: 1 });
    this.#changed({ hash, tokens, tierBits: DEVICE });
  }

  #letGo(hash: bigint): void {
    const segment = this.#segments.get(hash);
    if (segment === undefined || --segment.blocks > 0) return;
    this.#segments.delete(hash);
    this.#changed({ hash, tokens: 0, tierBits: 0 });
  }
}
