/** Prefills that ran side by side on one replica: what of its time each of them took. */
import { MAX_REPLICAS } from "../residency/segment-index.ts";

/** Prefills remembered for each replica. */
const REMEMBERED = 8;

/** What a prefill computed: tokens, and pairs of a token and one before it. */
export interface Work {
  tokens: number;
  pairs: number;
}

interface Prefill extends Work {
  fromMs: number;
  toMs: number;
}

export class ConcurrentPrefills {
  readonly #remembered: Prefill[][] = Array.from({ length: MAX_REPLICAS }, () => []);

  /** Remembers a prefill that ended, and returns all work known to have run in its time: its own, and of each other the share of its time that fell into it. */
  add(replica: number, own: Prefill): Work {
    const remembered = this.#remembered[replica];
    if (remembered === undefined) throw new RangeError(`replica slot ${replica} is not 0 … ${MAX_REPLICAS - 1}`);
    let { tokens, pairs } = own;
    for (const other of remembered) {
      const together = Math.min(own.toMs, other.toMs) - Math.max(own.fromMs, other.fromMs);
      if (together <= 0) continue;
      const share = together / (other.toMs - other.fromMs);
      tokens += share * other.tokens;
      pairs += share * other.pairs;
    }
    remembered.push(own);
    if (remembered.length > REMEMBERED) remembered.shift();
    return { tokens, pairs };
  }

  forget(replica: number): void {
    this.#remembered[replica]?.splice(0);
  }
}
