/**
 * Which segments this replica holds, and on which tiers, derived from which blocks it holds.
 *
 * A segment is anchored to the block that holds its last token. Several blocks may anchor one segment (two prompts that part inside
 * the block); the segment is held where any of them is. Anchors live while a run needs them or their block is held anywhere.
 */
import type { SegmentHash } from "../src/prefix/chain.ts";
import type { ResidencyEntry } from "../src/pool/frames.ts";
import type { EngineKey } from "./engine/engine.ts";
import { TIER } from "../src/residency/tiers.ts";

export interface Anchor {
  hash: SegmentHash;
  key: EngineKey;
  /** Tokens of the prompt up to the segment's end. */
  tokens: number;
}

interface Block {
  tierBits: number;
  /** Runs that named this block and have not ended. */
  runs: number;
  /** Hash → tokens. */
  segments: Map<SegmentHash, number>;
}

interface Segment {
  tokens: number;
  /** Held blocks that anchor it. */
  blocks: Set<Block>;
  /** As announced last. */
  tierBits: number;
}

const onDevice = (tierBits: number): number => ((tierBits & TIER.device) === 0 ? 0 : 1);

export class HeldSegments {
  readonly #blocks = new Map<EngineKey, Block>();
  readonly #segments = new Map<SegmentHash, Segment>();
  #deviceBlocks = 0;
  readonly #changed: (entry: ResidencyEntry) => void;

  constructor(changed: (entry: ResidencyEntry) => void) {
    this.#changed = changed;
  }

  get size(): number {
    return this.#segments.size;
  }

  /** Blocks on the device, those that no segment ends in too. */
  get deviceBlocks(): number {
    return this.#deviceBlocks;
  }

  *entries(): Generator<ResidencyEntry> {
    for (const [hash, { tokens, tierBits }] of this.#segments) yield { hash, tokens, tierBits };
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
      if (block.tierBits !== 0) this.#hold(hash, tokens, block);
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

  /** Of the tiers in `mask`, the block lies on those in `tierBits` from now on. */
  blockChanged(key: EngineKey, mask: number, tierBits: number): void {
    const block = this.#block(key);
    const before = block.tierBits;
    block.tierBits = (before & ~mask) | (tierBits & mask);
    this.#deviceBlocks += onDevice(block.tierBits) - onDevice(before);
    if (block.tierBits === before) return this.#dropUnused(key, block);
    for (const [hash, tokens] of block.segments) {
      if (block.tierBits === 0) this.#letGo(hash, block);
      else this.#hold(hash, tokens, block);
    }
    this.#dropUnused(key, block);
  }

  /** A tier lost all at once, as the device does when the engine dies. */
  tierCleared(tierBit: number): void {
    for (const [key, block] of this.#blocks) if ((block.tierBits & tierBit) !== 0) this.blockChanged(key, tierBit, 0);
  }

  #block(key: EngineKey): Block {
    let block = this.#blocks.get(key);
    if (block === undefined) this.#blocks.set(key, (block = { tierBits: 0, runs: 0, segments: new Map() }));
    return block;
  }

  #dropUnused(key: EngineKey, block: Block): void {
    if (block.tierBits === 0 && block.runs <= 0) this.#blocks.delete(key);
  }

  #hold(hash: SegmentHash, tokens: number, block: Block): void {
    let segment = this.#segments.get(hash);
    if (segment === undefined) this.#segments.set(hash, (segment = { tokens, blocks: new Set(), tierBits: 0 }));
    segment.blocks.add(block);
    this.#announce(hash, segment);
  }

  #letGo(hash: SegmentHash, block: Block): void {
    const segment = this.#segments.get(hash);
    if (segment?.blocks.delete(block) === true) this.#announce(hash, segment);
  }

  #announce(hash: SegmentHash, segment: Segment): void {
    let tierBits = 0;
    for (const block of segment.blocks) tierBits |= block.tierBits;
    if (tierBits === segment.tierBits) return;
    segment.tierBits = tierBits;
    if (tierBits === 0) this.#segments.delete(hash);
    this.#changed({ hash, tokens: tierBits === 0 ? 0 : segment.tokens, tierBits });
  }
}
