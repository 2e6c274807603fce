/** Which prompts ever came by, whether or not anyone still holds them: what a cache without bounds could have reused. */
import type { SegmentHash } from "../prefix/chain.ts";
import type { SegmentIndex } from "./segment-index.ts";

/** MiB: about 200,000 segments, the least recently seen forgotten first. In memory only. */
export const SEEN_PARTS = 4;

/** Slot under which they are kept; it is no replica's. */
const EVERYBODY = 0;
const SOME_TIER = 1;

interface PassingPrompt {
  chain: BigUint64Array;
  promptBytes: number;
  promptTokens: number;
}

export class EverSeen {
  readonly #index: SegmentIndex;

  /** @param index of its own, nobody's residency in it. */
  constructor(index: SegmentIndex) {
    this.#index = index;
  }

  get bytes(): number {
    return this.#index.bytes;
  }

  /** Coarse time, for what was seen least recently; as the residency index has it. */
  tick(now: number): void {
    this.#index.tick(now);
  }

  /** A replica gave it up. What replicas hold is not looked for here, so that it counts as seen just now. */
  givenUp(hash: SegmentHash): void {
    this.#index.set(hash, EVERYBODY, SOME_TIER, 0);
  }

  /**
   * Leading tokens that came by before, and remembers the rest. Generated tokens count once they come back in a prompt.
   *
   * @param heldSegments leading segments that some replica holds: seen, whether or not they are remembered.
   * @param ends byte offsets at which segments end, as far as they are known; without one a segment counts its share of the chain.
   */
  pass({ chain, promptBytes, promptTokens }: PassingPrompt, heldSegments: number, ends: readonly number[]): number {
    const before = heldSegments + (this.#index.overlap(chain.subarray(heldSegments)).segments[EVERYBODY] ?? 0);
    for (let at = before; at < chain.length; at++) this.#index.set(chain[at] ?? 0n, EVERYBODY, SOME_TIER, 0);
    if (before === 0) return 0;
    const endBytes = ends[before - 1];
    const share = endBytes === undefined ? before / chain.length : endBytes / Math.max(1, promptBytes);
    return Math.floor(promptTokens * Math.min(1, share));
  }
}
