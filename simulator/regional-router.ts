/**
 * The product over several regions: a pool in each, edges that choose one by its card as the product does (src/edge/rank-pools.ts), or, to compare with, always
 * the nearest. Replicas are dealt to regions in equal runs of their numbers.
 */
import type { LeaseReport } from "../src/pool/frames.ts";
import { type EdgeChoice, EdgeView, type PossiblePool } from "../src/edge/edge-view.ts";
import type { SimulatedRouter, RouterSetting, Placement, Question } from "./simulated-router.ts";
import { type Draw, seededDraw } from "./chance.ts";
import type { PlannedRequest } from "./plan.ts";
import { BYTES_PER_TOKEN, idOf, ProductRouter, type ProductOptions } from "./product-router.ts";
import type { SimulatedReplica } from "./simulated-replica.ts";

/** cards: as the product chooses. nearest: the region it comes from. global: one pool that spans all regions. */
export const POOL_CHOICES = ["cards", "nearest", "global"] as const;
type PoolChoiceName = (typeof POOL_CHOICES)[number];

export interface Regions {
  /** Of requests, by the region they come from; sums to 1. */
  shares: readonly number[];
  /** There and back, from the edges of one region to the pool and replicas of another. */
  rttMs: number;
  /** The same within a region. */
  nearRttMs: number;
  choice: PoolChoiceName;
}

/** After the first token, or without one, a prompt is no work that is still to come. */
const ENDS_BOOKING: ReadonlySet<LeaseReport["event"]> = new Set(["decoding", "settled", "refused"]);

/** An edge asks for a card again when it has one so old. */
const CARD_LIVES_MS = 1_000;

interface Region {
  name: string;
  router: ProductRouter;
  /** Null: none was made yet. */
  cardAtMs: number | null;
}

/** `prefilled`: called with the pool that computed the prompt, or null where none did. */
interface Booking {
  prefilled: EdgeChoice["prefilled"];
  origin: number;
}

export class RegionalRouter implements SimulatedRouter {
  readonly name: string;
  readonly #setting: RouterSetting;
  readonly #regions: Regions;
  readonly #replicas: number;
  readonly #pools: Region[];
  /** By region: what its edges know by themselves, as if they were one. */
  readonly #edges: EdgeView[];
  /** Region whose pool was asked last, by request. */
  readonly #asked = new Map<number, Region>();
  /** By request id as pools know it: ends what its edge has booked for it. */
  readonly #booked = new Map<string, Booking>();

  constructor(setting: RouterSetting, options: ProductOptions, regions: Regions, replicas: number) {
    this.#setting = setting;
    this.#regions = regions;
    this.#replicas = replicas;
    const names = regions.choice === "global" ? ["all"] : regions.shares.map((_, at) => `region-${at}`);
    this.#pools = names.map((name) => ({
      name,
      router: new ProductRouter(setting, options),
      cardAtMs: null,
    }));
    this.#edges = regions.shares.map((_, origin) => {
      const edge = new EdgeView();
      for (const [at, { name }] of this.#pools.entries()) edge.measured(name, this.#rttTo(origin, at), 0);
      return edge;
    });
    this.name = `warmpath ${regions.choice}`;
  }

  ask(question: Question, answer: (placement: Placement) => void): void {
    const origin = this.#originOf(question.request);
    this.#askInTurn(question, origin, this.#orderOf(question, origin), answer);
  }

  /** A pool that refuses passes it on to the next. */
  #askInTurn(question: Question, origin: number, order: readonly Region[], answer: (placement: Placement) => void): void {
    const [pool, ...rest] = order;
    if (pool === undefined) {
      this.#ended(idOf(question.request), null);
      return answer({ kind: "refused" });
    }
    this.#asked.set(question.request.id, pool);
    const rttMs = this.#rttTo(origin, this.#regions.choice === "global" ? origin : this.#pools.indexOf(pool));
    this.#setting.timeline.after(rttMs, () => {
      if (this.#asked.get(question.request.id) !== pool) return;
      pool.router.ask(question, (placement) => {
        if (placement.kind === "refused") return this.#askInTurn(question, origin, rest, answer);
        answer({ ...placement, rttMs: this.#rttTo(origin, this.#regionOf(placement.replica)) });
      });
    });
  }

  giveUp(request: PlannedRequest, attempt: number | null): void {
    this.#asked.get(request.id)?.router.giveUp(request, attempt);
    this.#asked.delete(request.id);
    this.#ended(idOf(request), null);
  }

  joined(replica: SimulatedReplica): void {
    this.#routerOf(replica).joined(replica);
  }

  left(replica: SimulatedReplica): void {
    this.#routerOf(replica).left(replica);
  }

  lease(replica: SimulatedReplica, step: LeaseReport): void {
    this.#routerOf(replica).lease(replica, step);
    const booking = this.#booked.get(step.id);
    if (booking === undefined || !ENDS_BOOKING.has(step.event)) return;
    const region = this.#regionOf(replica.number);
    // The first token is on its way for half a round trip.
    this.#setting.timeline.after(this.#rttTo(booking.origin, region) / 2, () =>
      this.#ended(step.id, step.event === "decoding" ? (this.#pools[region]?.name ?? null) : null),
    );
  }

  #ended(id: string, pool: string | null): void {
    this.#booked.get(id)?.prefilled(pool, this.#setting.timeline.nowMs);
    this.#booked.delete(id);
  }

  changed(replica: SimulatedReplica, segments: readonly number[]): void {
    this.#routerOf(replica).changed(replica, segments);
  }

  #orderOf({ request }: Question, origin: number): Region[] {
    const { choice } = this.#regions;
    const edge = this.#edges[origin];
    const { nowMs } = this.#setting.timeline;
    if (choice === "global" || edge === undefined) return this.#pools;
    if (choice === "nearest") return this.#pools.slice(origin, origin + 1);
    const promptBytes = request.promptTokens * BYTES_PER_TOKEN;
    const chain = { hashes: request.chain, ends: this.#byteEnds(request) };
    const pools = this.#pools.flatMap((pool): PossiblePool | [] => {
      this.#refreshCard(pool);
      const known = edge.card(pool.name);
      return known === undefined ? [] : { known, region: pool.name, chain };
    });
    const draw = sessionDraw(request)();
    const conversation = BigInt(Math.floor(draw * 2 ** 53));
    const { order, prefilled } = edge.choose(
      pools,
      { promptBytes, conversation, draw, goesOn: request.session !== null, warms: true },
      nowMs,
    );
    this.#booked.set(idOf(request), { prefilled, origin });
    return order.flatMap(({ pool }) => this.#pools.find(({ name }) => name === pool) ?? []);
  }

  #byteEnds({ path, promptSegments }: PlannedRequest): Uint32Array {
    return Uint32Array.from(path.subarray(0, promptSegments), (segment) => (this.#setting.tree.ends[segment] ?? 0) * BYTES_PER_TOKEN);
  }

  /** All edges get a new card at the same time. */
  #refreshCard(pool: Region): void {
    const { nowMs } = this.#setting.timeline;
    if (pool.cardAtMs !== null && nowMs - pool.cardAtMs < CARD_LIVES_MS) return;
    pool.cardAtMs = nowMs;
    const card = pool.router.state.card(pool.name, 0, nowMs);
    for (const edge of this.#edges) edge.keepCard(card, nowMs);
  }

  #rttTo(origin: number, region: number): number {
    return origin === region ? this.#regions.nearRttMs : this.#regions.rttMs;
  }

  #originOf(request: PlannedRequest): number {
    const draw = sessionDraw(request);
    draw();
    let left = draw();
    for (const [at, share] of this.#regions.shares.entries()) {
      left -= share;
      if (left < 0) return at;
    }
    return this.#regions.shares.length - 1;
  }

  #regionOf(replica: number): number {
    return Math.floor((replica * this.#regions.shares.length) / this.#replicas);
  }

  #routerOf({ number }: SimulatedReplica): ProductRouter {
    const pool = this.#pools[this.#regions.choice === "global" ? 0 : this.#regionOf(number)];
    if (pool === undefined) throw new RangeError(`replica ${number} is in no region`);
    return pool.router;
  }
}

/** The same for all requests of a session. */
function sessionDraw({ id, session }: PlannedRequest): Draw {
  let seed = 0x51ed270b;
  for (const letter of session ?? String(id)) seed = Math.imul(seed ^ letter.charCodeAt(0), 0x01000193);
  return seededDraw(seed);
}
