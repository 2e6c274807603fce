/**
 * How many bytes the prompts on one replica have together, where what several of them begin with counts once.
 *
 * Prompts are kept sorted by their chains. Then a trie of them has as many segments as all have together, less what each shares with the one before it,
 * so that adding or removing one takes two comparisons with its neighbours.
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
    this.#bytes += prompt.bytes - this.#sharedAt(at - 1, at, prompt);
    this.#sorted.splice(at, 0, prompt);
  }

  /** Of the very object that was added; nothing otherwise. */
  remove(prompt: ChainedPrompt): void {
    const at = this.#sorted.indexOf(prompt);
    if (at === -1) return;
    this.#sorted.splice(at, 1);
    this.#bytes = this.#sorted.length === 0 ? 0 : this.#bytes - prompt.bytes + this.#sharedAt(at - 1, at, prompt);
  }

  /** The most that it shares with one of two neighbours. */
  #sharedAt(before: number, after: number, prompt: ChainedPrompt): number {
    return Math.max(sharedBytes(this.#sorted[before], prompt), sharedBytes(this.#sorted[after], prompt));
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

function sharedBytes(other: ChainedPrompt | undefined, prompt: ChainedPrompt): number {
  if (other === undefined) return 0;
  const segments = sharedSegments(other.chain, prompt.chain);
  if (segments === 0) return 0;
  const end = prompt.segmentEnds[segments - 1] ?? (prompt.bytes * segments) / prompt.chain.length;
  return Math.min(end, prompt.bytes, other.bytes);
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
