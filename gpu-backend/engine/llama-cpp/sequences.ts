/**
 * Which sequence of the context holds which blocks. A block is resident while at least one sequence holds it; only blocks computed by
 * prefill count, because KV computed one token at a time is not always equal to the last bit.
 */
import type { BlockChange, EngineKey } from "../engine.ts";

/** One of the context's sequences. It lives as long as the context; its contents change. */
export interface Sequence {
  readonly id: number;
  /** Tokens whose KV the sequence holds, by position. */
  tokens: number[];
  /** Keys of its leading blocks that others may reuse. */
  blocks: EngineKey[];
  /** A run is using it. */
  busy: boolean;
  /** Grows with every use; smaller is longer ago. */
  lastUsed: number;
}

/** How a run gets its prefix: `blocks` leading blocks of `source`, kept in place or copied to `target`. */
export interface Placement {
  target: Sequence;
  source: Sequence;
  blocks: number;
}

interface Prompt {
  tokens: Uint32Array;
  keys: readonly EngineKey[];
}

export class SequenceTable {
  readonly all: readonly Sequence[];
  readonly blockTokens: number;
  readonly #holders = new Map<EngineKey, number>();
  #changes: BlockChange[] = [];
  #clock = 0;

  constructor(count: number, blockTokens: number) {
    this.blockTokens = blockTokens;
    this.all = Array.from({ length: count }, (_, id) => ({ id, tokens: [], blocks: [], busy: false, lastUsed: 0 }));
  }

  get freeCount(): number {
    return this.all.filter((sequence) => !sequence.busy).length;
  }

  /** Tokens in sequences that runs are using. */
  get usedTokens(): number {
    return this.all.reduce((sum, sequence) => sum + (sequence.busy ? sequence.tokens.length : 0), 0);
  }

  /** Changes of residency since the last call, in order. */
  takeChanges(): BlockChange[] {
    const changes = this.#changes;
    this.#changes = [];
    return changes;
  }

  /**
   * Where a prompt should run; undefined when every sequence is busy. In place when that costs nobody else's block; otherwise on the
   * sequence used longest ago, with the prefix copied there. At least two tokens stay to be computed: a prefill of one token takes
   * other kernels and may differ in the last bit. `whole`: nothing will be computed, so every full block counts.
   */
  place(prompt: Prompt, whole = false): Placement | undefined {
    const free = this.all.filter((sequence) => !sequence.busy);
    const oldest = free.toSorted((a, b) => Number(a.blocks.length > 0) - Number(b.blocks.length > 0) || a.lastUsed - b.lastUsed)[0];
    if (oldest === undefined) return undefined;
    const limit = whole ? prompt.keys.length : this.reusableBlocks(prompt.tokens.length);
    const overlaps = new Map(this.all.map((sequence) => [sequence, this.#overlap(sequence, prompt, limit)]));
    const blocks = Math.max(...overlaps.values());
    const best = this.all.filter((sequence) => overlaps.get(sequence) === blocks);
    const inPlace = best.find((sequence) => !sequence.busy && this.#losesNothing(sequence, blocks, prompt));
    if (blocks > 0 && inPlace !== undefined) return { target: inPlace, source: inPlace, blocks };
    const source = best.includes(oldest) ? oldest : (best[0] ?? oldest);
    return { target: oldest, source, blocks };
  }

  /** Blocks of a prompt that can be reused when its end is computed. */
  reusableBlocks(tokens: number): number {
    return Math.max(0, Math.floor((tokens - 2) / this.blockTokens));
  }

  /** Leading blocks of the prompt that some sequence holds. */
  heldBlocks(prompt: Prompt): number {
    return Math.max(...this.all.map((sequence) => this.#overlap(sequence, prompt, prompt.keys.length)));
  }

  /** The wanted blocks by sequence, as few sequences as a greedy choice finds. Blocks that none holds are left out. */
  locate(keys: Iterable<EngineKey>): Map<Sequence, number[]> {
    const found = new Map<Sequence, number[]>();
    const missing = new Set([...keys].filter((key) => this.#holders.has(key)));
    while (missing.size > 0) {
      const held = this.all.map((sequence) => [sequence, sequence.blocks.flatMap((key, at) => (missing.has(key) ? [at] : []))] as const);
      const [best, blocks] = held.reduce((most, next) => (next[1].length > most[1].length ? next : most));
      if (blocks.length === 0) break;
      found.set(best, blocks);
      for (const at of blocks) missing.delete(best.blocks[at] ?? ("" as EngineKey));
    }
    return found;
  }

  /** A run takes the sequence. */
  occupy(sequence: Sequence): void {
    sequence.busy = true;
    sequence.lastUsed = ++this.#clock;
  }

  release(sequence: Sequence): void {
    sequence.busy = false;
    sequence.lastUsed = ++this.#clock;
  }

  /** The next block of the sequence is computed, or was copied into it. */
  hold(sequence: Sequence, key: EngineKey): void {
    sequence.blocks.push(key);
    const holders = this.#holders.get(key) ?? 0;
    this.#holders.set(key, holders + 1);
    if (holders === 0) this.#changes.push({ key, held: true });
  }

  /** Those of the prompt's blocks whose tokens are all computed. */
  holdFull(sequence: Sequence, keys: readonly EngineKey[]): void {
    while ((sequence.blocks.length + 1) * this.blockTokens <= sequence.tokens.length) {
      const key = keys[sequence.blocks.length];
      if (key === undefined) return;
      this.hold(sequence, key);
    }
  }

  /** Forgets everything past `tokens`. The caller has the context do the same. */
  truncate(sequence: Sequence, tokens: number): void {
    // From the end, so that a chain is never seen with a hole.
    while (sequence.blocks.length * this.blockTokens > tokens) {
      const key = sequence.blocks.pop();
      if (key !== undefined) this.#drop(key);
    }
    if (sequence.tokens.length > tokens) sequence.tokens.length = tokens;
  }

  #drop(key: EngineKey): void {
    const holders = this.#holders.get(key) ?? 0;
    if (holders > 1) {
      this.#holders.set(key, holders - 1);
      return;
    }
    this.#holders.delete(key);
    this.#changes.push({ key, held: false });
  }

  #overlap(sequence: Sequence, prompt: Prompt, limit: number): number {
    let blocks = 0;
    while (blocks < limit && sequence.blocks[blocks] === prompt.keys[blocks]) blocks++;
    // Keys are hashes: the tokens themselves have the last word.
    for (let i = 0; i < blocks * this.blockTokens; i++)
      if (sequence.tokens[i] !== prompt.tokens[i]) return Math.floor(i / this.blockTokens);
    return blocks;
  }

  /** The blocks past the overlap are held elsewhere too, or the prompt will compute them again. */
  #losesNothing(sequence: Sequence, blocks: number, prompt: Prompt): boolean {
    return sequence.blocks.every((key, index) => index < blocks || prompt.keys[index] === key || (this.#holders.get(key) ?? 0) > 1);
  }
}
