/**
 * How many bytes the prompts on one replica have together, where what several of them begin with counts once.
 *
 * Prompts are kept sorted by their chains. Then a trie of them has as many segments as all have together, less what each shares with the one before it,
 * so that adding or removing one takes three comparisons: of itself with its neighbours, and of those with each other.
 *
 * Example: segments of 100 bytes, prompts [a, b, c] of 310 bytes and [a, b, d] of 350: 310 + 350 - 200 = 460.
 */

export interface ChainedPrompt {
  /** Segment hashes; each stands for all before it, too. */
  chain: BigUint64Array;
  /** Byte offset at which each of its segments ends, as far as the pool's schedule is known. */
  segmentEnds: readonly number[];
  bytes: number;
}

export class DistinctPrompts {
  readonly #sorted: ChainedPrompt[] = [];
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  add(prompt: ChainedPrompt): void {
    const at = this.#placeOf(prompt);
    this.#bytes += this.#ownBytes(at - 1, at, prompt);
    this.#sorted.splice(at, 0, prompt);
  }

  /** Of the very object that was added; nothing otherwise. */
  remove(prompt: ChainedPrompt): void {
    const at = this.#sorted.indexOf(prompt);
    if (at === -1) return;
    this.#sorted.splice(at, 1);
    this.#bytes -= this.#ownBytes(at - 1, at, prompt);
  }

  /** What it brings between two neighbours. What they share with each other is asked, not derived: where ends of segments are guesses it may be less than what both share with it. */
  #ownBytes(before: number, after: number, prompt: ChainedPrompt): number {
    const [left, right] = [this.#sorted[before], this.#sorted[after]];
    return prompt.bytes - sharedBytes(left, prompt) - sharedBytes(prompt, right) + sharedBytes(left, right);
  }

  #placeOf(prompt: ChainedPrompt): number {
    let [low, high] = [0, this.#sorted.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = this.#sorted[middle];
      if (other !== undefined && isBefore(other, prompt)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function isBefore({ chain: left }: ChainedPrompt, { chain: right }: ChainedPrompt): boolean {
  const at = sharedSegments(left, right);
  const [one, other] = [left[at], right[at]];
  return one === undefined ? other !== undefined : other !== undefined && one < other;
}

/** Whole bytes, the same from both sides, and no more than either has: what is added is taken away again. */
function sharedBytes(left: ChainedPrompt | undefined, right: ChainedPrompt | undefined): number {
  if (left === undefined || right === undefined) return 0;
  const segments = sharedSegments(left.chain, right.chain);
  return segments === 0 ? 0 : Math.min(endOf(left, segments), endOf(right, segments));
}

/** Byte at which so many of its segments end; where the schedule is not known, by their share of all. */
function endOf({ chain, segmentEnds, bytes }: ChainedPrompt, segments: number): number {
  return Math.min(bytes, segmentEnds[segments - 1] ?? Math.floor((bytes * segments) / chain.length));
}

/** Leading segments in common: hashes are cumulative, so that equal ones have equal ones before them. */
function sharedSegments(left: BigUint64Array, right: BigUint64Array): number {
  let [low, high] = [0, Math.min(left.length, right.length)];
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (left[middle - 1] === right[middle - 1]) low = middle;
    else high = middle - 1;
  }
  return low;
}
