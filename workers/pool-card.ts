/** Fetches what an edge's view is made of: pool cards and round trips. */
import type { EdgeView, KnownCard } from "../src/edge/edge-view.ts";
import { configOf, type Env } from "./env.ts";
import type { ListedCard } from "./objects/directory-object.ts";
import { poolStub } from "./pool-stub.ts";
import { steadyNowMs } from "./steady-clock.ts";

/** Of the only pool of a deployment: nothing is chosen by it. */
const FRESH_MS = 5_000;
/** Of several: by them a pool is chosen. */
const LISTED_FRESH_MS = 1_000;
const DIRECTORY = "directory";

type Background = (work: Promise<unknown>) => void;

/** Asks the pool for nothing much and looks at the clock, when that was not done lately. */
export function measureRoundTrip(edge: EdgeView, env: Env, pool: string, background: Background): void {
  const nowMs = steadyNowMs();
  if (!edge.beginMeasuring(pool, nowMs)) return;
  const measured = async (): Promise<void> => {
    const startedMs = steadyNowMs();
    await poolStub(env, pool).leaseAlive("", 0);
    edge.measured(pool, steadyNowMs() - startedMs, nowMs);
  };
  background(measured().catch(() => undefined));
}

/**
 * All cards that are known. Those of several pools come from this isolate's memory when they are younger than a second, else as they are while new
 * ones are fetched; `anew`: waits for new ones, for who does not find what it looks for.
 */
export async function poolCards(edge: EdgeView, env: Env, background: Background, anew = false): Promise<readonly KnownCard[]> {
  const { pools } = configOf(env);
  const [only] = pools;
  if (pools.length === 1 && only !== undefined) await onlyCard(edge, env, only, background);
  else await listedCards(edge, env, pools, background, anew);
  return pools.flatMap((pool) => edge.card(pool) ?? []);
}

/** A pool that had no replica yet is always asked again. */
async function onlyCard(edge: EdgeView, env: Env, pool: string, background: Background): Promise<void> {
  const fetchCard = async (): Promise<void> => edge.keepCard(await poolStub(env, pool).card(), steadyNowMs());
  const known = edge.card(pool);
  if (known === undefined || known.card.model === null) return fetchCard();
  // A pool that does not answer keeps its old card: the decision that follows will say so itself.
  if (steadyNowMs() - known.madeAtMs > FRESH_MS) background(fetchCard().catch(() => undefined));
}

async function listedCards(edge: EdgeView, env: Env, pools: readonly string[], background: Background, anew: boolean): Promise<void> {
  if (!anew && steadyNowMs() - edge.listedAtMs < LISTED_FRESH_MS) return;
  // A refresh that hangs is tried again after a while, as nothing waits for another request's promise.
  edge.listedAtMs = steadyNowMs();
  const isCold = !pools.some((pool) => edge.card(pool) !== undefined);
  if (isCold || anew) await fetchListed(edge, env, pools, anew);
  else background(fetchListed(edge, env, pools, false));
}

async function fetchListed(edge: EdgeView, env: Env, pools: readonly string[], anew: boolean): Promise<void> {
  const known = Object.fromEntries(pools.map((pool) => [pool, edge.card(pool)?.card.sketchVersion ?? 0]));
  const listed = await (env.DIRECTORY.getByName(DIRECTORY).cards(known, anew) as Promise<ListedCard[]>).catch(() => null);
  if (listed !== null) {
    for (const { card, ageMs } of listed) edge.keepCard(card, steadyNowMs(), ageMs);
    return;
  }
  // Without the directory it takes a call a pool.
  const cards = await Promise.allSettled(pools.map((pool) => poolStub(env, pool).card(known[pool] ?? 0)));
  for (const result of cards) if (result.status === "fulfilled") edge.keepCard(result.value, steadyNowMs());
}
