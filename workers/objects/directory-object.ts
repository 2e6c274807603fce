/**
 * The cards of all pools in one place, so that an edge asks once a second and not once a pool. It keeps nothing: what it has in memory it asked the
 * pools for, at most every second and only while edges ask.
 */
import { DurableObject } from "cloudflare:workers";
import type { PoolCard } from "../../src/router/card.ts";
import { MOST_POOLS } from "../../src/wire/deployment-models.ts";
import type { Env } from "../env.ts";
import { poolStub } from "../pool-stub.ts";
import { steadyNowMs } from "../steady-clock.ts";

const FRESH_MS = 1_000;
/** The longest that an edge waits for a pool's first card. */
const FIRST_MS = 1_000;
/** A pool that does not answer is waited for again only after this. */
const SILENT_MS = 10_000;

export interface ListedCard {
  card: PoolCard;
  /** Since the pool was asked. */
  ageMs: number;
}

interface PoolEntry {
  card: PoolCard | null;
  /** When the answer came that `card` is. */
  askedAtMs: number;
  /** When it was last tried. */
  triedAtMs: number;
  trying: Promise<void> | null;
}

export class DirectoryObject extends DurableObject<Env> {
  readonly #pools = new Map<string, PoolEntry>();

  /**
   * Of these pools all that have ever answered. `known`: by pool the version of the sketch that the edge has, which is left out; 0 for none. `anew`: pools without a model are asked
   * again and waited for, as their first replica may just have come.
   */
  async cards(known: Readonly<Record<string, number>>, anew = false): Promise<ListedCard[]> {
    const pools = Object.keys(known).slice(0, MOST_POOLS);
    const awaited: Promise<void>[] = [];
    for (const pool of pools) {
      const isFirst = !this.#pools.has(pool);
      const isMissed = anew && (this.#pools.get(pool)?.card?.model ?? null) === null;
      const trying = this.#refresh(pool, isMissed);
      if (trying !== null && (isFirst || isMissed)) awaited.push(trying);
    }
    if (awaited.length > 0) await Promise.race([Promise.all(awaited), new Promise((resolve) => setTimeout(resolve, FIRST_MS))]);
    const nowMs = steadyNowMs();
    return pools.flatMap((pool) => {
      const { card = null, askedAtMs = 0 } = this.#pools.get(pool) ?? {};
      return card === null ? [] : [{ card: known[pool] === card.sketchVersion ? withoutSketch(card) : card, ageMs: nowMs - askedAtMs }];
    });
  }

  /** Null while the card is fresh. One call a pool at a time. */
  #refresh(pool: string, anew: boolean): Promise<void> | null {
    const nowMs = steadyNowMs();
    const kept = this.#pools.get(pool) ?? { card: null, askedAtMs: 0, triedAtMs: 0, trying: null };
    this.#pools.set(pool, kept);
    // A call that hangs must not keep a pool out for ever.
    if (kept.trying !== null && nowMs - kept.triedAtMs < SILENT_MS) return kept.trying;
    if (!anew && nowMs - kept.triedAtMs < FRESH_MS) return null;
    kept.triedAtMs = nowMs;
    kept.trying = poolStub(this.env, pool)
      .card(kept.card?.sketchVersion ?? 0)
      .then((card) => {
        const { sketch = kept.card?.sketch } = card;
        kept.card = sketch === undefined ? card : { ...card, sketch };
        kept.askedAtMs = nowMs;
      })
      // Its old card grows older, and the edges see how old.
      .catch(() => undefined)
      .finally(() => (kept.trying = null));
    return kept.trying;
  }
}

function withoutSketch(card: PoolCard): PoolCard {
  const { sketch: _, ...rest } = card;
  return rest;
}
