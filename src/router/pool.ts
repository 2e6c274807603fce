/**
 * One pool put together. What replicas and edges say goes in with the pool's time. What the shell has to do comes out as values, in the
 * order in which it is to be done; the pool's own knowledge has followed by then. After whatever changes something, the pool dispatches
 * its waiting line by itself.
 */
import type { LeftOut } from "../pool/breaker.ts";
import { type LeaseKey, prefillLease } from "../pool/lease.ts";
import type { JoinRefusal, MembershipEffect, MembershipEvent, MembershipState } from "../pool/membership.ts";
import type { Replica, ReplicaHello } from "../pool/replica.ts";
import type { WayOutcome, WayTry } from "../pool/way-back.ts";
import type { HashSpec } from "../prefix/segment.ts";
import type { MetricFamily } from "../prometheus.ts";
import type { SavedRates } from "../rates/rate-book.ts";
import type { SegmentIndex } from "../residency/segment-index.ts";
import type { PoolCard } from "./card.ts";
import { Dispatcher, type DispatcherOptions } from "./dispatcher.ts";
import type { PoolListener } from "./events.ts";
import { AnnounceIntake } from "./intake.ts";
import type { Heartbeat, LeaseReport, ResidencyFrame } from "../pool/frames.ts";
import { poolMetrics } from "./metrics.ts";
import type { Answered, AnswerTo, DecideAnswer, DecideRequest } from "./question.ts";
import { type PoolRoster, rosterOf } from "./roster.ts";
import { PoolState } from "./state.ts";
import type { ResyncNeed } from "./sync.ts";

export type { PoolCard } from "./card.ts";
export type { PoolEvent } from "./events.ts";
export { onPoolClock } from "./question.ts";
export type * from "./question.ts";
export type { PoolRoster } from "./roster.ts";

/** What the shell has to do. `slot`: of the replica that is spoken to over its socket. */
export type PoolEffect =
  /** Close the socket over which the hello came. `reason`: for whoever runs the replica. */
  | ({ kind: "refuse" } & JoinRefusal)
  /** The socket over which the hello came speaks for this replica from now on; another one that it had is closed. */
  | { kind: "welcome"; replica: Replica }
  | { kind: "cancel"; slot: number; key: LeaseKey }
  /** Ask for all frames after this sequence number; null: for everything that the replica holds. */
  | { kind: "resync"; slot: number; afterSeq: number | null }
  /** The pool reaches it at its URL. */
  | { kind: "reached"; slot: number }
  /** The pool can't reach it there, and it gets no requests. */
  | { kind: "unreached"; slot: number; url: string; reason: string }
  /** It failed every request lately, and gets none for a while. */
  | ({ kind: "leftOut" } & LeftOut)
  /** Its slot is free: close its socket, and forget its key. */
  | { kind: "forget"; replica: Replica; reason: string }
  /** Try its way back, and say with `wayTried` how that went. */
  | { kind: "tryWay"; way: WayTry }
  /** To a call that was held. */
  | ({ kind: "answer" } & Answered);

/** What a replica says when it opens its socket. */
export interface Introduction {
  hello: ReplicaHello;
  /** Behind the hello's fingerprint; absent: where segments end is not known. */
  hashSpec?: HashSpec;
  /** The shell's number for the socket. */
  connection: number;
  /** Its way back is proved already. */
  admitted: boolean;
  /** What it computes already. */
  running: readonly LeaseKey[];
  /** Of its last residency frame. */
  seq: number;
}

interface PoolOptions extends DispatcherOptions {
  index: SegmentIndex;
  /** A request is prefilled elsewhere from so many uncached tokens on; null: never. Absent: the default. */
  remotePrefillTokens?: number | null | undefined;
}

/** What outlives the loss of memory, besides the index; plain data. */
export interface SavedPool {
  /** Each replica with the sequence number of its last frame that was applied. */
  membership: MembershipState;
  hashSpec: HashSpec | null;
  createdAtSeconds: number;
  rates: SavedRates;
}

export class Pool {
  /** To read: the pool alone changes it. */
  readonly state: PoolState;
  readonly #intake: AnnounceIntake;
  readonly #dispatcher: Dispatcher;

  constructor({ index, remotePrefillTokens, ...options }: PoolOptions) {
    this.state = new PoolState(index, remotePrefillTokens);
    this.#intake = new AnnounceIntake(this.state);
    this.#dispatcher = new Dispatcher(this.state, options);
  }

  /** Its first effect is `refuse`, or there is a `welcome`. */
  hello({ hello, hashSpec, connection, admitted, running, seq }: Introduction, nowMs: number): PoolEffect[] {
    const followed = this.#intake.membership({ kind: "hello", hello, connection, admitted }, nowMs);
    const effects = followed.flatMap(effectsOf);
    const replica = this.state.named(hello.name);
    if (replica === undefined || followed.some(({ kind }) => kind === "refused")) return effects;
    if (hashSpec !== undefined && (this.state.hashSpec === null || followed.some(({ kind }) => kind === "adopted"))) {
      this.state.hashSpec = hashSpec;
      this.state.createdAtSeconds = Math.floor(nowMs / 1000);
    }
    const { slot } = replica;
    effects.push({ kind: "welcome", replica });
    for (const key of this.#intake.reconcile(slot, running, nowMs)) effects.push({ kind: "cancel", slot, key });
    effects.push(...resync(slot, this.#intake.needAfterHello(slot, seq, nowMs)));
    return this.#then(effects, nowMs);
  }

  /** A residency frame. */
  residency(slot: number, update: ResidencyFrame, nowMs: number): PoolEffect[] {
    return this.#then(resync(slot, this.#intake.residency(slot, update, nowMs)), nowMs);
  }

  heartbeat(slot: number, epoch: number, said: Heartbeat, nowMs: number): PoolEffect[] {
    const { effects, need } = this.#intake.heartbeat(slot, epoch, said, nowMs);
    return this.#then([...resync(slot, need), ...effects.flatMap(effectsOf), ...this.#waysDue(nowMs)], nowMs);
  }

  /** What a replica reports of its own leases, first thing first; what it says of others changes nothing. */
  leaseReports(slot: number, reports: readonly LeaseReport[], nowMs: number): PoolEffect[] {
    for (const report of reports) this.#intake.lease(slot, report, nowMs);
    return this.#then([], nowMs);
  }

  /** It gets nothing new any more. */
  drain(slot: number, epoch: number, nowMs: number): PoolEffect[] {
    return this.#membership({ kind: "drain", slot, epoch }, nowMs);
  }

  /** The socket of this number is closed. */
  parted(slot: number, connection: number, nowMs: number): PoolEffect[] {
    return this.#membership({ kind: "socketClosed", slot, connection }, nowMs);
  }

  /** One try that ends makes room for the next. */
  wayTried(made: WayTry, outcome: WayOutcome, nowMs: number): PoolEffect[] {
    const effects = this.#intake.wayTried(made, outcome, nowMs).flatMap(effectsOf);
    return this.#then([...effects, ...this.#waysDue(nowMs)], nowMs);
  }

  /** Time passes: replicas fall silent, leases and claims run out. Call every 250 ms while the pool is busy. */
  tick(nowMs: number): PoolEffect[] {
    const effects = this.#intake.tick(nowMs).flatMap(effectsOf);
    return this.#then([...effects, ...this.#waysDue(nowMs)], nowMs);
  }

  /**
   * An answer of null: the request waits in line. One `answer` effect is for `to`, of this call or of a later one, unless `waitedEnough` ends
   * the call before.
   */
  decide(request: DecideRequest, nowMs: number, to: AnswerTo): { answer: DecideAnswer | null; effects: PoolEffect[] } {
    const answer = this.#dispatcher.decide(request, nowMs, to);
    const effects = this.#leftOut();
    return { answer, effects: answer === null ? this.#then(effects, nowMs) : effects };
  }

  /** The hold of the call that gave `to` is over; its place in line stays for as long as it renews. */
  waitedEnough(id: string, to: AnswerTo): DecideAnswer {
    return this.#dispatcher.waitedEnough(id, to);
  }

  /** Out of the line; an answer that is on its way to the edge comes too late, and its lease ends. */
  leave(id: string, nowMs: number): PoolEffect[] {
    this.#dispatcher.leave(id);
    const last = this.state.ring.get(id);
    return last === undefined ? this.#then([], nowMs) : this.release({ id, attempt: last.attempt }, nowMs);
  }

  /** The lease ends, and that of whoever prefills for it. `failed`: its replica failed it, and no other is asked. */
  release(key: LeaseKey, nowMs: number, failed = false): PoolEffect[] {
    const effects: PoolEffect[] = [];
    for (const leased of [key, prefillLease(key)]) {
      const slot = this.state.leases.get(leased)?.replica;
      if (slot !== undefined) effects.push({ kind: "cancel", slot, key: leased });
    }
    if (failed) this.#dispatcher.fail(key, nowMs);
    else this.#dispatcher.release(key, nowMs);
    return this.#then([...effects, ...this.#leftOut()], nowMs);
  }

  isLeaseAlive(key: LeaseKey): boolean {
    return this.state.leases.get(key)?.endedAtMs === null;
  }

  /** Replicas, leases and requests in line; 0: nobody is here, and the pool may leave memory. */
  get busy(): number {
    return this.state.membership.replicas.length + this.state.leases.size + this.waiting;
  }

  /** Requests in line. */
  get waiting(): number {
    return this.#dispatcher.waiting;
  }

  /** `knownSketch`: the version of the sketch that the asker has, 0 for none; left out, it wants none. */
  card(name: string, knownSketch: number | undefined, nowMs: number): PoolCard {
    return this.state.card(name, knownSketch, nowMs);
  }

  roster(nowMs: number): PoolRoster {
    return rosterOf(this.state, nowMs);
  }

  metrics(name: string, nowMs: number): MetricFamily[] {
    return poolMetrics(name, this.state, nowMs);
  }

  /** Sequence number of the replica's last frame that was applied. */
  seqOf(slot: number): number {
    return this.#intake.seqOf(slot);
  }

  save(): SavedPool {
    const { membership, hashSpec, createdAtSeconds, rates } = this.state;
    const replicas = membership.replicas.map((replica) => ({ ...replica, seq: this.seqOf(replica.slot) }));
    return { membership: { ...membership, replicas }, hashSpec, createdAtSeconds, rates: rates.save() };
  }

  /** Into a pool that has nothing yet. `indexFits`: its index was restored from the same checkpoint. */
  restore({ membership, hashSpec, createdAtSeconds, rates }: SavedPool, indexFits: boolean, nowMs: number): void {
    this.state.hashSpec = hashSpec;
    this.state.createdAtSeconds = createdAtSeconds;
    this.state.rates.restore(rates);
    this.#intake.restore(membership, indexFits, nowMs);
  }

  /** The shell has written so much for checkpoints since it began. */
  checkpointed({ rows, bytes }: { rows: number; bytes: number }): void {
    this.state.events.emit({ kind: "checkpointed", rows, bytes });
  }

  /** Hears of each event at once. The function that ends it is returned. */
  subscribe(listener: PoolListener): () => void {
    return this.state.events.subscribe(listener);
  }

  #membership(event: MembershipEvent, nowMs: number): PoolEffect[] {
    return this.#then(this.#intake.membership(event, nowMs).flatMap(effectsOf), nowMs);
  }

  #waysDue(nowMs: number): PoolEffect[] {
    return this.#intake.waysDue(nowMs).map((way) => ({ kind: "tryWay", way }));
  }

  #leftOut(): PoolEffect[] {
    return this.state.leftOutNews.splice(0).map((news) => ({ kind: "leftOut", ...news }));
  }

  /** Something may have changed: whoever's turn it is in line is sent. */
  #then(effects: PoolEffect[], nowMs: number): PoolEffect[] {
    for (const answered of this.#dispatcher.dispatchWaiting(nowMs)) effects.push({ kind: "answer", ...answered });
    return effects;
  }
}

function resync(slot: number, need: ResyncNeed): PoolEffect[] {
  return need === null ? [] : [{ kind: "resync", slot, afterSeq: need.afterSeq }];
}

/** What membership asks of sockets and keys. */
function effectsOf(effect: MembershipEffect): PoolEffect[] {
  switch (effect.kind) {
    case "refused":
      return [{ kind: "refuse", code: effect.code, reason: effect.reason }];
    case "expired":
      return [{ kind: "forget", replica: effect.replica, reason: effect.reason }];
    case "unreached":
      return [{ kind: "unreached", slot: effect.replica.slot, url: effect.replica.url, reason: effect.reason }];
    case "becameReady":
      return [{ kind: "reached", slot: effect.replica.slot }];
    case "recovered":
      return effect.replica.admitted ? [{ kind: "reached", slot: effect.replica.slot }] : [];
    case "joined":
    case "reconnected":
    case "replaced":
    case "adopted":
    case "becameSuspect":
    case "draining":
      return [];
  }
}
