/**
 * When a prefix that lies far away is computed nearby, too: once the ways there have cost as much as that would (the ski-rental rule, at most twice the
 * cost of knowing the future: Karlin et al. 1988, Competitive snoopy caching). Each request alone would go there for ever.
 */
import { BoundedMap } from "../bounded-map.ts";

/** By then what was near may be gone, and what was far, too. */
const REMEMBERED_MS = 600_000;
const MOST_KEPT = 16_384;

interface Paid {
  ms: number;
  atMs: number;
}

/** Of one edge: what it has paid for going far, by prompt head and by conversation. */
export class DistanceDebt {
  /** Oldest first. */
  readonly #paid = new BoundedMap<bigint, Paid>(MOST_KEPT);

  /** ms of way that prompts like this one have cost beyond the nearest pool's: a conversation's own once it has begun, else all of its head. */
  paidMs(conversation: bigint, head: bigint, nowMs: number): number {
    return this.#of(conversation, nowMs) ?? this.#of(head, nowMs) ?? 0;
  }

  /** @param extraMs beyond the nearest pool's way; 0: it went to the nearest, or far because that is busy, when a prefix more is the last thing it needs: either way what was paid is gone. */
  went(conversation: bigint, head: bigint, extraMs: number, nowMs: number): void {
    const own = this.#of(conversation, nowMs);
    if (extraMs > 0) {
      this.#set(conversation, (own ?? 0) + extraMs, nowMs);
      this.#set(head, (this.#of(head, nowMs) ?? 0) + extraMs, nowMs);
      return;
    }
    // What a conversation has paid brings itself near; its head may be far from there.
    this.#paid.delete(own === undefined ? head : conversation);
  }

  #of(key: bigint, nowMs: number): number | undefined {
    const paid = this.#paid.get(key);
    return paid === undefined || nowMs - paid.atMs > REMEMBERED_MS ? undefined : paid.ms;
  }

  #set(key: bigint, ms: number, nowMs: number): void {
    this.#paid.set(key, { ms, atMs: nowMs });
  }
}
