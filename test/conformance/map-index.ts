import { MAX_REPLICAS, type Overlap, type ResidencyEntry, type ResidencyIndex } from "../../src/residency/segment-index.ts";

/** The index's meaning in the plainest words there are; no bound, no speed. */
export class MapIndex implements ResidencyIndex {
  readonly #held = new Map<string, ResidencyEntry & { replica: number }>();

  get size(): number {
    return this.#held.size;
  }

  set(hash: bigint, replica: number, tierBits: number, tokens: number): void {
    if (!(replica >= 0 && replica < MAX_REPLICAS) || !(tierBits >= 0 && tierBits <= 15)) throw new RangeError("out of range");
    if (tierBits === 0) this.remove(hash, replica);
    else if (hash !== 0n) this.#held.set(`${hash} ${replica}`, { hash, replica, tierBits, tokens });
  }

  remove(hash: bigint, replica: number): boolean {
    return this.#held.delete(`${hash} ${replica}`);
  }

  forgetReplica(replica: number): number {
    const entries = [...this.entries(replica)];
    for (const { hash } of entries) this.remove(hash, replica);
    return entries.length;
  }

  tiersOf(hash: bigint, replica: number): number {
    return this.#held.get(`${hash} ${replica}`)?.tierBits ?? 0;
  }

  *entries(replica: number): Iterable<ResidencyEntry> {
    for (const { replica: holder, ...entry } of this.#held.values()) if (holder === replica) yield entry;
  }

  count(replica: number): number {
    return [...this.entries(replica)].length;
  }

  tick(): void {}

  overlap(chain: BigUint64Array): Overlap {
    const any = Array.from({ length: MAX_REPLICAS }, (_, replica) => this.#leading(chain, replica, 15));
    const memory = Array.from({ length: MAX_REPLICAS }, (_, replica) => this.#leading(chain, replica, 3));
    const device = Array.from({ length: MAX_REPLICAS }, (_, replica) => this.#leading(chain, replica, 1));
    return {
      segments: Uint16Array.from(any, ([segments]) => segments),
      tokens: Uint32Array.from(any, ([, tokens]) => tokens),
      deviceSegments: Uint16Array.from(device, ([segments]) => segments),
      deviceTokens: Uint32Array.from(device, ([, tokens]) => tokens),
      memoryTokens: Uint32Array.from(memory, ([, tokens]) => tokens),
    };
  }

  #leading(chain: BigUint64Array, replica: number, tierBits: number): [segments: number, tokens: number] {
    let tokens = 0;
    for (let depth = 0; depth < chain.length; depth++) {
      const entry = this.#held.get(`${chain[depth]} ${replica}`);
      if (entry === undefined || (entry.tierBits & tierBits) === 0) return [depth, tokens];
      tokens = entry.tokens;
    }
    return [chain.length, tokens];
  }
}
