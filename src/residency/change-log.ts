/** Bytes of one entry where it is stored: its slot's four words (part.ts). */
export const ENTRY_BYTES = 16;
const FIRST_ENTRIES = 1_024;

/**
 * Changes of an index in order, as entries are stored: what a pair is now, without tiers where it is gone, and hash 0 for all that a replica held.
 * Grows until it is cleared: whoever keeps one writes it out when it is large.
 */
export class ChangeLog {
  #words = new Int32Array(FIRST_ENTRIES * 4);
  #length = 0;

  get bytes(): number {
    return this.#length * 4;
  }

  add(hi: number, lo: number, tokens: number, meta: number): void {
    let at = this.#length;
    if (at === this.#words.length) {
      const wider = new Int32Array(at * 2);
      wider.set(this.#words);
      this.#words = wider;
    }
    this.#words[at++] = hi;
    this.#words[at++] = lo;
    this.#words[at++] = tokens;
    this.#words[at++] = meta;
    this.#length = at;
  }

  /** Signed words, four an entry; until the next change. */
  get words(): Int32Array {
    return this.#words.subarray(0, this.#length);
  }

  clear(): void {
    this.#length = 0;
    if (this.#words.length > FIRST_ENTRIES * 64) this.#words = new Int32Array(FIRST_ENTRIES * 4);
  }
}
