/** What an edge has sent to pools lately, which their sketches cannot tell yet: a next turn that comes at once, siblings of the same moment. */
import type { Chain } from "../prefix/chain.ts";
import { headOf } from "./rendezvous.ts";

/** By then a sketch tells it, if it is so. */
const LATELY_MS = 5_000;
/** Prompts kept of each head, and segments of all of them: 8 bytes each. */
const MOST_OF_A_HEAD = 16;
const MOST_SEGMENTS = 500_000;

interface Sent {
  pool: string;
  hashes: BigUint64Array;
  atMs: number;
}

export class RecentlySent {
  /** By prompt head, oldest use first; each oldest first. */
  readonly #byHead = new Map<bigint, Sent[]>();
  #segments = 0;

  keep(pool: string, { hashes, ends }: Chain, nowMs: number): void {
    const head = headOf(hashes, ends);
    const sent = this.#byHead.get(head) ?? [];
    this.#byHead.delete(head);
    this.#byHead.set(head, sent);
    const known = sent.findIndex((one) => one.pool === pool && one.hashes.at(-1) === hashes.at(-1));
    if (known >= 0) this.#drop(sent, known);
    else if (sent.length >= MOST_OF_A_HEAD) this.#drop(sent, 0);
    sent.push({ pool, hashes, atMs: nowMs });
    this.#segments += hashes.length;
    // Bounded by segments, not by heads: no map that counts its entries.
    for (const [oldest, gone] of this.#byHead) {
      if (this.#segments <= MOST_SEGMENTS) return;
      for (const { hashes: old } of gone) this.#segments -= old.length;
      this.#byHead.delete(oldest);
    }
  }

  /** Leading segments of the chain that went to this pool lately. */
  overlap(pool: string, { hashes, ends }: Chain, nowMs: number): number {
    let most = 0;
    for (const sent of this.#byHead.get(headOf(hashes, ends)) ?? []) {
      if (sent.pool === pool && nowMs - sent.atMs <= LATELY_MS) most = Math.max(most, common(sent.hashes, hashes));
    }
    return most;
  }

  #drop(sent: Sent[], at: number): void {
    const [gone] = sent.splice(at, 1);
    this.#segments -= gone?.hashes.length ?? 0;
  }
}

/** Each hash stands for all before it: where one is equal, so are those before. */
function common(left: BigUint64Array, right: BigUint64Array): number {
  let [known, open] = [0, Math.min(left.length, right.length)];
  while (known < open) {
    const middle = (known + open + 1) >> 1;
    if (left[middle - 1] === right[middle - 1]) known = middle;
    else open = middle - 1;
  }
  return known;
}
