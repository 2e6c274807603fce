/**
 * Which prefixes a server that does not say what it holds probably holds: those of the prompts that it was sent, least recently used out
 * first, within the size of its cache. Where it reports how much of a prompt it found, that corrects the belief.
 */
import { createHash } from "node:crypto";
import { BoundedMap } from "../../../src/bounded-map.ts";

/** Of each block of a prompt, a name for all up to its end. */
type PrefixChain = readonly string[];

export class PrefixMemory {
  readonly #blocks: BoundedMap<string, true>;
  readonly #blockTokens: number;

  constructor(kvTokens: number, blockTokens: number) {
    this.#blocks = new BoundedMap(Math.max(1, Math.floor(kvTokens / blockTokens)));
    this.#blockTokens = blockTokens;
  }

  /** Its full blocks. */
  chainOf(tokens: readonly number[], salt: string): PrefixChain {
    const bytes = new Uint8Array(Uint32Array.from(tokens).buffer);
    const size = this.#blockTokens * 4;
    const chain: string[] = [];
    let before = salt;
    for (let end = size; end <= bytes.length; end += size) {
      before = createHash("sha1")
        .update(before)
        .update("\n")
        .update(bytes.subarray(end - size, end))
        .digest("base64");
      chain.push(before);
    }
    return chain;
  }

  /** Leading tokens that are believed to be held; never the whole prompt, of which the last token is always computed. */
  heldTokens(chain: PrefixChain, promptTokens: number): number {
    const missing = chain.findIndex((block) => !this.#blocks.has(block));
    const held = missing === -1 ? chain.length : missing;
    return Math.min(held, Math.floor((promptTokens - 1) / this.#blockTokens)) * this.#blockTokens;
  }

  /** The prompt was computed. Of one prompt the end is forgotten first: without its beginning it is of no use. */
  computed(chain: PrefixChain): void {
    for (const block of chain.toReversed()) this.#blocks.set(block, true);
  }

  /**
   * What the server had found of it, in tokens, before it is `computed`. A believed block that had gone shows that all which were used
   * before it have gone too: servers make room by least recent use.
   */
  corrected(chain: PrefixChain, cachedTokens: number): void {
    const gone = chain[Math.floor(cachedTokens / this.#blockTokens)];
    if (gone === undefined || !this.#blocks.has(gone)) return;
    for (const block of this.#blocks.keys()) {
      this.#blocks.delete(block);
      if (block === gone) return;
    }
  }

  clear(): void {
    this.#blocks.clear();
  }
}
