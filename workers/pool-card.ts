/** The cards of all pools as this isolate knows them. */
import { Sketch } from "../src/residency/sketch.ts";
import type { PoolCard } from "../src/router/dispatcher.ts";
import { configOf, type Env } from "./env.ts";
import type { ListedCard } from "./objects/directory-object.ts";
import { poolStub } from "./pool-stub.ts";
import { steadyNowMs } from "./steady-clock.ts";

/** Of the only pool of a deployment: nothing is chosen by it. */
const FRESH_MS = 5_000;
/** Of several: by them a pool is chosen. */
const LISTED_FRESH_MS = 1_000;
/** A pool's round trip is measured again after this, at first sooner; of the last few the least counts, as all else is waiting, and predicted as that. */
const MEASURED_MS = 5_000;
const FIRST_MEASURED_MS = 500;
const MOST_MEASURED = 4;
const DIRECTORY = "directory";

type Background = (work: Promise<unknown>) => void;

export interface KnownCard {
  card: PoolCard;
  /** This isolate's clock. */
  madeAtMs: number;
  sketch: Sketch | null;
  /** Prefill that this isolate has sent there since, less what is done of that which the card still tells. */
  bookedMs: number;
  /** Requests that it has sent there since. */
  bookedRequests: number;
}

const kept = new Map<string, KnownCard>();
const roundTrips = new Map<string, { rttsMs: readonly number[]; askedAtMs: number }>();
/** When the directory was last asked; a refresh that hangs is tried again after a while, as nothing waits for another request's promise. */
let listedAtMs = -Infinity;

export function keepCard(card: PoolCard, ageMs = 0): void {
  const madeAtMs = steadyNowMs() - ageMs;
  const known = kept.get(card.pool);
  if (known !== undefined && known.madeAtMs > madeAtMs) return;
  const sketch = card.sketch === undefined ? (known?.sketch ?? null) : Sketch.parse(card.sketch);
  const sketchVersion = card.sketchVersion ?? known?.card.sketchVersion;
  const { sketch: _, ...rest } = card;
  kept.set(card.pool, {
    card: sketchVersion === undefined ? rest : { ...rest, sketchVersion },
    madeAtMs,
    sketch,
    bookedMs: 0,
    bookedRequests: 0,
  });
}

/** What was routed to a pool and its card cannot tell yet. To be called when it is done, or will not be; idempotent. */
export function book(pool: string, prefillMs: number): () => void {
  const known = kept.get(pool);
  if (known === undefined) return () => undefined;
  const bookedAtMs = steadyNowMs();
  known.bookedMs += prefillMs;
  known.bookedRequests++;
  let isOver = false;
  return () => {
    const latest = kept.get(pool);
    if (isOver || latest === undefined) return;
    isOver = true;
    // A card made meanwhile tells what was left by then.
    latest.bookedMs -= Math.max(0, prefillMs - Math.max(0, latest.madeAtMs - bookedAtMs));
  };
}

/** Null before the first measurement. */
export function roundTripMs(pool: string): number | null {
  const { rttsMs = [] } = roundTrips.get(pool) ?? {};
  return rttsMs.length === 0 ? null : Math.min(...rttsMs);
}

/** Asks the pool for nothing much and looks at the clock, when that was not done lately. */
export function measureRoundTrip(env: Env, pool: string, background: Background): void {
  const nowMs = steadyNowMs();
  const { rttsMs = [], askedAtMs = -Infinity } = roundTrips.get(pool) ?? {};
  if (nowMs - askedAtMs < (rttsMs.length < MOST_MEASURED ? FIRST_MEASURED_MS : MEASURED_MS)) return;
  roundTrips.set(pool, { rttsMs, askedAtMs: nowMs });
  const measured = async (): Promise<void> => {
    const startedMs = steadyNowMs();
    await poolStub(env, pool).leaseAlive("", 0);
    const known = roundTrips.get(pool)?.rttsMs ?? [];
    roundTrips.set(pool, { rttsMs: [...known, steadyNowMs() - startedMs].slice(-MOST_MEASURED), askedAtMs: nowMs });
  };
  background(measured().catch(() => undefined));
}

/**
 * All cards that are known. Those of several pools come from this isolate's memory when they are younger than a second, else as they are while new
 * ones are fetched; `anew`: waits for new ones, for who does not find what it looks for.
 */
export async function poolCards(env: Env, background: Background, anew = false): Promise<readonly KnownCard[]> {
  const { pools } = configOf(env);
  const [only] = pools;
  if (pools.length === 1 && only !== undefined) await onlyCard(env, only, background);
  else await listedCards(env, pools, background, anew);
  return pools.flatMap((pool) => kept.get(pool) ?? []);
}

/** A pool that had no replica yet is always asked again. */
async function onlyCard(env: Env, pool: string, background: Background): Promise<void> {
  const fetchCard = async (): Promise<void> => keepCard(await poolStub(env, pool).card());
  const known = kept.get(pool);
  if (known === undefined || known.card.model === null) return fetchCard();
  // A pool that does not answer keeps its old card: the decision that follows will say so itself.
  if (steadyNowMs() - known.madeAtMs > FRESH_MS) background(fetchCard().catch(() => undefined));
}

async function listedCards(env: Env, pools: readonly string[], background: Background, anew: boolean): Promise<void> {
  if (!anew && steadyNowMs() - listedAtMs < LISTED_FRESH_MS) return;
  listedAtMs = steadyNowMs();
  const isCold = !pools.some((pool) => kept.has(pool));
  if (isCold || anew) await fetchListed(env, pools, anew);
  else background(fetchListed(env, pools, false));
}

async function fetchListed(env: Env, pools: readonly string[], anew: boolean): Promise<void> {
  const known = Object.fromEntries(pools.map((pool) => [pool, kept.get(pool)?.card.sketchVersion ?? 0]));
  const listed = await (env.DIRECTORY.getByName(DIRECTORY).cards(known, anew) as Promise<ListedCard[]>).catch(() => null);
  if (listed !== null) {
    for (const { card, ageMs } of listed) keepCard(card, ageMs);
    return;
  }
  // Without the directory it takes a call a pool.
  const cards = await Promise.allSettled(pools.map((pool) => poolStub(env, pool).card(known[pool] ?? 0)));
  for (const result of cards) if (result.status === "fulfilled") keepCard(result.value);
}
