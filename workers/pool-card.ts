import type { PoolCard } from "../src/routing/dispatcher.ts";
import type { Env } from "./env.ts";

const FRESH_MS = 5_000;

interface Kept {
  card: PoolCard;
  fetchedAtMs: number;
}

const kept = new Map<string, Kept>();

export function keepCard(card: PoolCard): void {
  kept.set(card.pool, { card, fetchedAtMs: Date.now() });
}

/**
 * What the pool tells the edges, from this isolate's memory when it is younger than 5 s, else served as it is while a new one is
 * fetched; a pool that had no replica yet is always asked again.
 */
export async function poolCard(env: Env, pool: string, background: (work: Promise<unknown>) => void): Promise<PoolCard> {
  const fetchCard = async (): Promise<PoolCard> => {
    const card = await env.POOL.getByName(pool).card();
    keepCard(card);
    return card;
  };
  const known = kept.get(pool);
  if (known === undefined || known.card.model === null) return fetchCard();
  // A pool that does not answer keeps its old card: the decision that follows will say so itself.
  if (Date.now() - known.fetchedAtMs > FRESH_MS) background(fetchCard().catch(() => undefined));
  return known.card;
}
