import { homeOf, packMeta, replicaOf, tiersOf, touchedOf, WRAP } from "./part.ts";
import { MAX_REPLICAS, type Overlap } from "./segment-index.ts";
import { TIER } from "./tiers.ts";

const NO_GAP = -1;
/** A constant of the loop: read off the object it costs as much as the compare. */
const TIER_DEVICE = TIER.device;
const TIER_MEMORY = TIER.device | TIER.host;

/**
 * Walks a chain segment by segment and keeps who has held all of it so far. The inner loop runs once per (segment, holder): it compares 32-bit halves
 * as signed words, makes no bigint, and writes two numbers.
 */
export class OverlapScan {
  /** Overwritten by the next walk. */
  readonly found: Overlap = {
    segments: new Uint16Array(MAX_REPLICAS),
    tokens: new Uint32Array(MAX_REPLICAS),
    deviceSegments: new Uint16Array(MAX_REPLICAS),
    deviceTokens: new Uint32Array(MAX_REPLICAS),
    memoryTokens: new Uint32Array(MAX_REPLICAS),
  };
  /** While walking, signed: segments held so far, and the token position of the last of them. */
  readonly #depths = new Int32Array(MAX_REPLICAS);
  readonly #positions = new Int32Array(MAX_REPLICAS);
  /** Depth of a replica's first segment that is not on its device, and the token position before it. */
  readonly #gaps = new Int32Array(MAX_REPLICAS);
  readonly #gapPositions = new Int32Array(MAX_REPLICAS);
  /** 1 from a replica's first segment on that is neither on its device nor in its host memory, and the token position before it. */
  readonly #slow = new Uint8Array(MAX_REPLICAS);
  readonly #slowPositions = new Int32Array(MAX_REPLICAS);

  begin(): void {
    this.#depths.fill(0);
    this.#positions.fill(0);
    this.#gaps.fill(NO_GAP);
    this.#slow.fill(0);
  }

  /** The segment (hi, lo) at `depth`, looked up in the words of its part; how many replicas hold it and all before it, at most `alive`. */
  step(words: Int32Array, depth: number, hi: number, lo: number, alive: number, now: number): number {
    const depths = this.#depths;
    const positions = this.#positions;
    let held = 0;
    for (let at = homeOf(lo); ; at = (at + 4) & WRAP) {
      const meta = words[at + 3];
      if (meta === 0 || meta === undefined) return held;
      if (words[at + 1] !== lo || words[at] !== hi) continue;
      const replica = replicaOf(meta);
      if (depths[replica] !== depth) continue;
      if ((tiersOf(meta) & TIER_DEVICE) === 0) this.#mark(replica, depth, tiersOf(meta));
      depths[replica] = depth + 1;
      positions[replica] = words[at + 2] ?? 0;
      // Does not make the part dirty: a lost touch costs nothing.
      if (touchedOf(meta) !== now) words[at + 3] = packMeta(replica, tiersOf(meta), now);
      if (++held === alive) return held;
    }
  }

  end(): Overlap {
    const { segments, tokens, deviceSegments, deviceTokens, memoryTokens } = this.found;
    for (let replica = 0; replica < MAX_REPLICAS; replica++) {
      const gap = this.#gaps[replica] ?? NO_GAP;
      segments[replica] = this.#depths[replica] ?? 0;
      tokens[replica] = this.#positions[replica] ?? 0;
      deviceSegments[replica] = (gap === NO_GAP ? this.#depths[replica] : gap) ?? 0;
      deviceTokens[replica] = (gap === NO_GAP ? this.#positions[replica] : this.#gapPositions[replica]) ?? 0;
      memoryTokens[replica] = (this.#slow[replica] === 0 ? this.#positions[replica] : this.#slowPositions[replica]) ?? 0;
    }
    return this.found;
  }

  #mark(replica: number, depth: number, tiers: number): void {
    if ((tiers & TIER_MEMORY) === 0 && this.#slow[replica] === 0) {
      this.#slow[replica] = 1;
      this.#slowPositions[replica] = this.#positions[replica] ?? 0;
    }
    if (this.#gaps[replica] !== NO_GAP) return;
    this.#gaps[replica] = depth;
    this.#gapPositions[replica] = this.#positions[replica] ?? 0;
  }
}
