/**
 * What one edge knows of its pools, and the choice that it makes by that: cards, bookings, round trips, recently sent heads, distance debt and
 * answers that no pool has heard of. Whoever runs the edge makes one view and passes the time, ms of a clock that never goes back.
 */
import { BoundedMap } from "../bounded-map.ts";
import type { Chain } from "../prefix/chain.ts";
import { Sketch } from "../residency/sketch.ts";
import type { PoolCard } from "../router/card.ts";
import type { AnsweredBy } from "../router/question.ts";
import { DistanceDebt } from "./distance-debt.ts";
import { choosePool, type PoolChoice, type PoolSight } from "./rank-pools.ts";
import { RecentlySent } from "./recently-sent.ts";
import { headOf } from "./rendezvous.ts";

/** As a deployment has pools. */
const MOST_POOLS = 256;
/** As a pool has replicas. */
const MOST_NAMES = 64;
/** A pool's round trip is measured again after this, at first sooner; of the last few the least counts, as all else is waiting, and predicted as that. */
const MEASURED_MS = 5_000;
const FIRST_MEASURED_MS = 500;
const MOST_MEASURED = 4;

const NO_CHAIN: Chain = { hashes: new BigUint64Array(), ends: new Uint32Array() };

export interface KnownCard {
  card: PoolCard;
  madeAtMs: number;
  sketch: Sketch | null;
  /** Prefill that this edge has sent there since, less what is done of that which the card still tells. */
  bookedMs: number;
  /** Requests that it has sent there since. */
  bookedRequests: number;
}

/** A pool that may take the request. */
export interface PossiblePool {
  known: KnownCard;
  region: string;
  /** Of the prompt, under this pool's hash spec. */
  chain: Chain;
}

export interface EdgeAsk {
  promptBytes: number;
  /** The same for all requests of a conversation. */
  conversation: bigint;
  /** In [0, 1), the same for all requests of a conversation. */
  draw: number;
  /** Its client said what conversation it belongs to. */
  goesOn: boolean;
  /** It will be computed there. What is only counted warms nothing. */
  warms: boolean;
}

export interface EdgeChoice extends PoolChoice {
  /** To be called at the first token with the pool that computed the prompt, or with null when no pool will. The booking ends at the first call. */
  prefilled: (pool: string | null, nowMs: number) => void;
}

export class EdgeView {
  readonly #cards = new BoundedMap<string, KnownCard>(MOST_POOLS);
  readonly #roundTrips = new BoundedMap<string, { rttsMs: readonly number[]; askedAtMs: number }>(MOST_POOLS);
  /** By pool, then by name the epoch. */
  readonly #answered = new BoundedMap<string, Map<string, number>>(MOST_POOLS);
  readonly #sent = new RecentlySent();
  readonly #paid = new DistanceDebt();
  /** When the directory was last asked for all cards. */
  listedAtMs = -Infinity;

  card(pool: string): KnownCard | undefined {
    return this.#cards.get(pool);
  }

  /** An older card than the known one is passed over. One without a sketch leaves the known sketch as it is. */
  keepCard(card: PoolCard, nowMs: number, ageMs = 0): void {
    const madeAtMs = nowMs - ageMs;
    const known = this.#cards.get(card.pool);
    if (known !== undefined && known.madeAtMs > madeAtMs) return;
    const sketch = card.sketch === undefined ? (known?.sketch ?? null) : Sketch.parse(card.sketch);
    const sketchVersion = card.sketchVersion ?? known?.card.sketchVersion;
    const { sketch: _, ...rest } = card;
    const kept = sketchVersion === undefined ? rest : { ...rest, sketchVersion };
    this.#cards.set(card.pool, { card: kept, madeAtMs, sketch, bookedMs: 0, bookedRequests: 0 });
  }

  /** The least of the last few, ms; null before the first measurement. */
  roundTripMs(pool: string): number | null {
    const { rttsMs = [] } = this.#roundTrips.get(pool) ?? {};
    return rttsMs.length === 0 ? null : Math.min(...rttsMs);
  }

  /** Whether the way to this pool is to be measured now. Then it counts as begun. */
  beginMeasuring(pool: string, nowMs: number): boolean {
    const { rttsMs = [], askedAtMs = -Infinity } = this.#roundTrips.get(pool) ?? {};
    if (nowMs - askedAtMs < (rttsMs.length < MOST_MEASURED ? FIRST_MEASURED_MS : MEASURED_MS)) return false;
    this.#roundTrips.set(pool, { rttsMs, askedAtMs: nowMs });
    return true;
  }

  /** @param askedAtMs when this measurement began */
  measured(pool: string, rttMs: number, askedAtMs: number): void {
    const known = this.#roundTrips.get(pool)?.rttsMs ?? [];
    this.#roundTrips.set(pool, { rttsMs: [...known, rttMs].slice(-MOST_MEASURED), askedAtMs });
  }

  /** Of the possible pools the one with the least predicted time first. What goes to the first is booked there until `prefilled`. */
  choose(pools: readonly PossiblePool[], ask: EdgeAsk, nowMs: number): EdgeChoice {
    const sights = this.#sightsOf(pools, nowMs);
    const { hashes, ends } = sights[0]?.chain ?? NO_CHAIN;
    const head = headOf(hashes, ends);
    const paidMs = this.#paid.paidMs(ask.conversation, head, nowMs);
    const { promptBytes, draw, goesOn } = ask;
    const choice = choosePool(sights, { promptBytes, draw, goesOn, paidMs });
    const [best] = choice.order;
    if (best === undefined || !ask.warms) return { ...choice, prefilled: () => undefined };
    const keep = (pool: string, atMs: number): void => {
      const sight = sights.find(({ card }) => card.pool === pool);
      if (sight !== undefined) this.#sent.keep(pool, sight.chain, atMs);
    };
    // Siblings that come before its answer follow it.
    keep(best.pool, nowMs);
    this.#paid.went(ask.conversation, head, choice.extraWayMs, nowMs);
    const settle = this.#book(best.pool, best.prefillMs, nowMs);
    const prefilled = (pool: string | null, atMs: number): void => {
      settle();
      if (pool !== null) keep(pool, atMs);
    };
    return { ...choice, prefilled };
  }

  /** An answer of this replica came to its end: its pool hears of it with the next question, so that no call is made for it. */
  noteAnswered(pool: string, { replica, epoch }: AnsweredBy): void {
    const names = this.#answered.get(pool) ?? new Map<string, number>();
    if (names.size < MOST_NAMES || names.has(replica)) names.set(replica, epoch);
    this.#answered.set(pool, names);
  }

  /** Those that the pool has not heard of. */
  takeAnswered(pool: string): { answered?: AnsweredBy[] } {
    const names = this.#answered.get(pool);
    if (names === undefined) return {};
    this.#answered.delete(pool);
    return { answered: [...names].map(([replica, epoch]) => ({ replica, epoch })) };
  }

  /** A way that was not measured yet is taken to be like the mean of those that were. */
  #sightsOf(pools: readonly PossiblePool[], nowMs: number): PoolSight[] {
    const measured = pools.flatMap(({ known }) => this.roundTripMs(known.card.pool) ?? []);
    const meanMs = measured.reduce((sum, rttMs) => sum + rttMs, 0) / Math.max(1, measured.length);
    return pools.map(({ known: { card, madeAtMs, sketch, bookedMs, bookedRequests }, region, chain }): PoolSight => {
      const rttMs = this.roundTripMs(card.pool) ?? meanMs;
      const sentSegments = this.#sent.overlap(card.pool, chain, nowMs);
      return { card, region, ageMs: nowMs - madeAtMs, rttMs, sketch, bookedMs, bookedRequests, sentSegments, chain };
    });
  }

  /** What was routed to a pool and its card cannot tell yet. To be called when it is done, or will not be; idempotent. */
  #book(pool: string, prefillMs: number, bookedAtMs: number): () => void {
    const known = this.#cards.get(pool);
    if (known === undefined) return () => undefined;
    known.bookedMs += prefillMs;
    known.bookedRequests++;
    let isOver = false;
    return () => {
      const latest = this.#cards.get(pool);
      if (isOver || latest === undefined) return;
      isOver = true;
      // A card made meanwhile tells what was left by then.
      latest.bookedMs -= Math.max(0, prefillMs - Math.max(0, latest.madeAtMs - bookedAtMs));
    };
  }
}
