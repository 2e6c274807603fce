/** A peer's policy in the fleet: it gets what its router knows and chooses at once. The router's bookings are kept here, the same way for every peer. */
import type { LeaseReport } from "../src/pool/frames.ts";
import type { SimulatedRouter, RouterSetting, Placement, Question } from "./simulated-router.ts";
import { DEVICE_BIT } from "./block-cache.ts";
import { type PlannedRequest, reusableTokens } from "./plan.ts";
import type { PeerPolicy, ReplicaSight } from "./policy.ts";
import { type Booking, RouterBookings } from "./router-bookings.ts";
import type { SimulatedReplica } from "./simulated-replica.ts";

interface Known {
  replica: SimulatedReplica;
  /** Tiers by segment, as the events say. */
  bits: Uint8Array;
  deviceTokens: number;
  treeTokens: number;
}

export class PeerRouter implements SimulatedRouter {
  readonly name: string;
  readonly #policy: PeerPolicy;
  readonly #setting: RouterSetting;
  readonly #known: Known[] = [];
  readonly #books: RouterBookings[];
  /** Where a request is booked, by its id. */
  readonly #booked = new Map<number, { book: RouterBookings; booking: Booking }>();

  constructor(policy: PeerPolicy, setting: RouterSetting) {
    this.name = policy.name;
    this.#policy = policy;
    this.#setting = setting;
    this.#books = Array.from({ length: setting.edges }, () => new RouterBookings(setting.tree));
  }

  ask({ request, arrivedAtMs, failed }: Question, answer: (placement: Placement) => void): void {
    const book = this.#books[request.id % this.#books.length];
    if (book === undefined) return;
    this.#unbook(request.id);
    const tried = new Set(failed.map(({ replica }) => replica));
    const able = this.#known.filter(({ replica }) => replica.roles.includes("decode"));
    const fresh = able.filter(({ replica }) => !tried.has(replica.number));
    const open = fresh.length > 0 ? fresh : able;
    if (open.length === 0) return answer({ kind: "refused" });
    const sights = open.map((known) => this.#sight(known, request, book));
    const { id, promptTokens, chain, session } = request;
    const index = this.#policy.choose({ id, arrivedAtMs, promptTokens, chain, session }, sights, this.#setting.draw);
    const chosen = sights[index];
    if (chosen === undefined) throw new RangeError(`${this.name} chose ${index} of ${sights.length} replicas`);
    const booking = book.book(chosen.replica, request, chosen.hostTokens);
    this.#booked.set(id, { book, booking });
    answer({ kind: "placed", replica: chosen.replica, attempt: failed.length + 1, source: null, loads: true });
  }

  giveUp(request: PlannedRequest): void {
    this.#unbook(request.id);
  }

  joined(replica: SimulatedReplica): void {
    const bits = new Uint8Array(this.#setting.tree.hashes.length);
    this.#known.push({ replica, bits, deviceTokens: 0, treeTokens: 0 });
    this.#known.sort((left, right) => left.replica.number - right.replica.number);
    for (const book of this.#books) book.open(replica.number);
  }

  left(replica: SimulatedReplica): void {
    const at = this.#known.findIndex((known) => known.replica === replica);
    if (at >= 0) this.#known.splice(at, 1);
  }

  lease(_replica: SimulatedReplica, step: LeaseReport): void {
    const id = Number(step.id);
    const booked = this.#booked.get(id);
    if (booked === undefined) return;
    if (step.event === "decoding") booked.book.firstToken(booked.booking);
    if (step.event === "settled" || step.event === "refused") this.#unbook(id);
  }

  changed(replica: SimulatedReplica, segments: readonly number[]): void {
    const { events, timeline, draw } = this.#setting;
    if (!events.announced || (events.loss > 0 && draw() < events.loss)) return;
    const tiers = segments.map((segment) => replica.engine.cache.tierBits(segment));
    if (events.delayMs === 0) return this.#learn(replica, segments, tiers);
    timeline.after(events.delayMs, () => this.#learn(replica, segments, tiers));
  }

  #learn(replica: SimulatedReplica, segments: readonly number[], tiers: readonly number[]): void {
    const known = this.#known.find((other) => other.replica === replica);
    if (known === undefined) return;
    const { starts, ends } = this.#setting.tree;
    for (const [at, segment] of segments.entries()) {
      const before = known.bits[segment] ?? 0;
      const now = tiers[at] ?? 0;
      const tokens = (ends[segment] ?? 0) - (starts[segment] ?? 0);
      known.bits[segment] = now;
      known.deviceTokens += tokens * ((now & DEVICE_BIT) - (before & DEVICE_BIT));
      known.treeTokens += tokens * (Math.sign(now) - Math.sign(before));
    }
  }

  #unbook(id: number): void {
    const booked = this.#booked.get(id);
    if (booked === undefined) return;
    this.#booked.delete(id);
    booked.book.end(booked.booking);
  }

  #sight({ replica, bits, deviceTokens, treeTokens }: Known, request: PlannedRequest, book: RouterBookings): ReplicaSight {
    const { constants, number, name } = replica;
    const { path, promptSegments, promptTokens } = request;
    const { blockTokens, kvTokens, maxSequences, loadMsPerToken } = constants;
    const lead = (holds: (segment: number) => boolean): number => {
      let count = 0;
      while (count < promptSegments && holds(path[count] ?? 0)) count++;
      const end = count === 0 ? 0 : (this.#setting.tree.ends[path[count - 1] ?? 0] ?? 0);
      return reusableTokens(end, promptTokens, blockTokens);
    };
    const load = book.load(number);
    const hostTokens = lead((segment) => bits[segment] !== 0 || load.isLive(segment));
    const liveKvTokens = Math.min(kvTokens, load.liveTokens);
    return {
      replica: number,
      name,
      deviceTokens: lead((segment) => ((bits[segment] ?? 0) & DEVICE_BIT) !== 0 || load.isLive(segment)),
      hostTokens,
      diskTokens: hostTokens,
      liveOverlapTokens: lead((segment) => load.isLive(segment)),
      runningRequests: load.running,
      waitingRequests: load.waiting,
      activePrefillTokens: load.prefillTokens,
      activePrefillPairs: load.prefillPairs,
      activeDecodeTokens: load.decodeTokens,
      kvTokens,
      kvUsedTokens: Math.min(kvTokens, Math.max(liveKvTokens, deviceTokens + load.looseTokens)),
      liveKvTokens,
      treeTokens,
      maxSequences,
      blockTokens,
      stepMs: constants.baseMs,
      prefillMsPerToken: constants.prefillMsPerToken,
      attentionMsPerPair: constants.attentionMsPerPair,
      decodeMsPerSequence: constants.decodeMsPerSequence,
      decodeMsPerContextToken: constants.decodeMsPerContextToken,
      hostLoadMsPerToken: replica.engine.hasHostTier ? loadMsPerToken : Infinity,
      diskLoadMsPerToken: Infinity,
      stepTokens: constants.stepTokens,
    };
  }
}
