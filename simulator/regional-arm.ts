/**
 * The product over several regions: a pool in each, edges that choose one by its card as the product does (src/edge/rank-pools.ts), or, to compare with, always
 * the nearest. Replicas are dealt to regions in equal runs of their numbers.
 */
import type { LeaseStep } from "../src/router/intake.ts";
import { choosePool, type PoolSight } from "../src/edge/rank-pools.ts";
import { DistanceDebt } from "../src/edge/distance-debt.ts";
import { headOf } from "../src/edge/rendezvous.ts";
import type { PoolCard } from "../src/router/card.ts";
import { RecentlySent } from "../src/edge/recently-sent.ts";
import { Sketch } from "../src/residency/sketch.ts";
import type { Arm, ArmSetting, Placement, Question } from "./arm.ts";
import { type Draw, seededDraw } from "./chance.ts";
import type { PlannedRequest } from "./plan.ts";
import { BYTES_PER_TOKEN, ProductArm, type ProductOptions } from "./product-arm.ts";
import type { SimulatedReplica } from "./simulated-replica.ts";

/** cards: as the product chooses. nearest: the region it comes from. global: one pool that spans all regions. */
export const POOL_CHOICES = ["cards", "nearest", "global"] as const;
export type PoolChoiceName = (typeof POOL_CHOICES)[number];

export interface Regions {
  /** Of requests, by the region they come from; sums to 1. */
  shares: readonly number[];
  /** There and back, from the edges of one region to the pool and replicas of another. */
  rttMs: number;
  /** The same within a region. */
  nearRttMs: number;
  choice: PoolChoiceName;
}

/** An edge asks for a card again when it has one so old. */
const CARD_LIVES_MS = 1_000;

interface Region {
  name: string;
  arm: ProductArm;
  card: PoolCard | null;
  cardAtMs: number;
  sketch: Sketch | null;
  /** Prefill, ms, and requests that the edges of each region have sent there since the card was made. */
  bookedMs: Float64Array;
  bookedRequests: Float64Array;
}

/** What the edges of a region know by themselves: each region is taken for one edge. */
interface Edge {
  sent: RecentlySent;
  paid: DistanceDebt;
}

export class RegionalArm implements Arm {
  readonly name: string;
  readonly #setting: ArmSetting;
  readonly #regions: Regions;
  readonly #replicas: number;
  readonly #pools: Region[];
  readonly #edges: Edge[];
  /** Region whose pool was asked last, by request. */
  readonly #asked = new Map<number, Region>();

  constructor(setting: ArmSetting, options: ProductOptions, regions: Regions, replicas: number) {
    this.#setting = setting;
    this.#regions = regions;
    this.#replicas = replicas;
    const names = regions.choice === "global" ? ["all"] : regions.shares.map((_, at) => `region-${at}`);
    this.#pools = names.map((name) => ({
      name,
      arm: new ProductArm(setting, options),
      card: null,
      cardAtMs: 0,
      sketch: null,
      bookedMs: new Float64Array(regions.shares.length),
      bookedRequests: new Float64Array(regions.shares.length),
    }));
    this.#edges = regions.shares.map(() => ({ sent: new RecentlySent(), paid: new DistanceDebt() }));
    this.name = `warmpath ${regions.choice}`;
  }

  ask(question: Question, answer: (placement: Placement) => void): void {
    const origin = this.#originOf(question.request);
    this.#askInTurn(question, origin, this.#orderOf(question, origin), answer);
  }

  /** A pool that refuses passes it on to the next. */
  #askInTurn(question: Question, origin: number, order: readonly Region[], answer: (placement: Placement) => void): void {
    const [pool, ...rest] = order;
    if (pool === undefined) return answer({ kind: "refused" });
    this.#asked.set(question.request.id, pool);
    const rttMs = this.#rttTo(origin, this.#regions.choice === "global" ? origin : this.#pools.indexOf(pool));
    this.#setting.timeline.after(rttMs, () => {
      if (this.#asked.get(question.request.id) !== pool) return;
      pool.arm.ask(question, (placement) => {
        if (placement.kind === "refused") return this.#askInTurn(question, origin, rest, answer);
        answer({ ...placement, rttMs: this.#rttTo(origin, this.#regionOf(placement.replica)) });
      });
    });
  }

  giveUp(request: PlannedRequest, attempt: number | null): void {
    this.#asked.get(request.id)?.arm.giveUp(request, attempt);
    this.#asked.delete(request.id);
  }

  joined(replica: SimulatedReplica): void {
    this.#armOf(replica).joined(replica);
  }

  left(replica: SimulatedReplica): void {
    this.#armOf(replica).left(replica);
  }

  lease(replica: SimulatedReplica, step: LeaseStep): void {
    this.#armOf(replica).lease(replica, step);
  }

  changed(replica: SimulatedReplica, segments: readonly number[]): void {
    this.#armOf(replica).changed(replica, segments);
  }

  #orderOf({ request }: Question, origin: number): Region[] {
    const { choice } = this.#regions;
    const edge = this.#edges[origin];
    const { nowMs } = this.#setting.timeline;
    if (choice === "global" || edge === undefined) return this.#pools;
    if (choice === "nearest") return this.#pools.slice(origin, origin + 1);
    const promptBytes = request.promptTokens * BYTES_PER_TOKEN;
    const chain = { hashes: request.chain, ends: this.#byteEnds(request) };
    const sights = this.#pools.map((pool, at): PoolSight => {
      const { card, ageMs, sketch } = this.#cardOf(pool);
      const sentSegments = edge.sent.overlap(pool.name, chain, nowMs);
      const rttMs = this.#rttTo(origin, at);
      const booked = { bookedMs: pool.bookedMs[origin] ?? 0, bookedRequests: pool.bookedRequests[origin] ?? 0 };
      return { card, region: pool.name, ageMs, rttMs, sketch, chain, ...booked, sentSegments };
    });
    const draw = sessionDraw(request)();
    const conversation = BigInt(Math.floor(draw * 2 ** 53));
    const head = headOf(chain.hashes, chain.ends);
    const paidMs = edge.paid.paidMs(conversation, head, nowMs);
    const { order, extraWayMs } = choosePool(sights, { promptBytes, draw, goesOn: request.session !== null, paidMs });
    edge.paid.went(conversation, head, extraWayMs, nowMs);
    const first = this.#pools.find(({ name }) => name === order[0]?.pool);
    if (first !== undefined) {
      first.bookedMs[origin] = (first.bookedMs[origin] ?? 0) + (order[0]?.prefillMs ?? 0);
      first.bookedRequests[origin] = (first.bookedRequests[origin] ?? 0) + 1;
      edge.sent.keep(first.name, chain, nowMs);
    }
    return order.flatMap(({ pool }) => this.#pools.find(({ name }) => name === pool) ?? []);
  }

  #byteEnds({ path, promptSegments }: PlannedRequest): Uint32Array {
    return Uint32Array.from(path.subarray(0, promptSegments), (segment) => (this.#setting.tree.ends[segment] ?? 0) * BYTES_PER_TOKEN);
  }

  #cardOf(pool: Region): { card: PoolCard; ageMs: number; sketch: Sketch | null } {
    const { nowMs } = this.#setting.timeline;
    if (pool.card === null || nowMs - pool.cardAtMs >= CARD_LIVES_MS) {
      pool.card = pool.arm.state.card(pool.name, 0, nowMs);
      pool.cardAtMs = nowMs;
      pool.bookedMs.fill(0);
      pool.bookedRequests.fill(0);
      pool.sketch = pool.card.sketch === undefined ? null : Sketch.parse(pool.card.sketch);
    }
    return { card: pool.card, ageMs: nowMs - pool.cardAtMs, sketch: pool.sketch };
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

  #armOf({ number }: SimulatedReplica): ProductArm {
    const pool = this.#pools[this.#regions.choice === "global" ? 0 : this.#regionOf(number)];
    if (pool === undefined) throw new RangeError(`replica ${number} is in no region`);
    return pool.arm;
  }
}

/** The same for all requests of a session. */
function sessionDraw({ id, session }: PlannedRequest): Draw {
  let seed = 0x51ed270b;
  for (const letter of session ?? String(id)) seed = Math.imul(seed ^ letter.charCodeAt(0), 0x01000193);
  return seededDraw(seed);
}
