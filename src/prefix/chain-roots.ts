/** Roots of chains, remembered: one depends on its tenant and its pool only, and every prompt begins with it. */
import { BoundedMap } from "../bounded-map.ts";
import { chainRoot, type ChainScope, type Hash64, type SegmentHash } from "./chain.ts";
import { specFingerprint } from "./segment.ts";

const MOST_ROOTS = 1_024;

export class ChainRoots {
  readonly #hash64: Hash64;
  readonly #roots = new BoundedMap<string, SegmentHash>(MOST_ROOTS);

  constructor(hash64: Hash64) {
    this.#hash64 = hash64;
  }

  of(scope: ChainScope): SegmentHash {
    const { spec, model, adapter, salt } = scope;
    // A salt has no space in it, and neither has a fingerprint.
    const name = `${salt} ${specFingerprint(spec)} ${JSON.stringify([model, adapter])}`;
    const known = this.#roots.get(name);
    if (known !== undefined) return known;
    const root = chainRoot(this.#hash64, scope);
    this.#roots.set(name, root);
    return root;
  }
}
