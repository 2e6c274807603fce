/** The pool's core, put together as a pool object puts it together; what the shell adds is done here in memory. */
import type { LeaseKey } from "../../../src/pool/lease.ts";
import type { MembershipEffect, MembershipEvent } from "../../../src/pool/membership.ts";
import { PoolClock } from "../../../src/pool/pool-clock.ts";
import type { ReplicaHello } from "../../../src/pool/replica.ts";
import { createStorableIndex } from "../../../src/residency/typed-array-index.ts";
import { AnnounceIntake, type LeaseStep, type ResidencyUpdate } from "../../../src/router/intake.ts";
import { type DecideAnswer, type DecideRequest, Dispatcher } from "../../../src/router/dispatcher.ts";
import { PoolState } from "../../../src/router/state.ts";
import { CACHE_AWARE } from "../../../src/decision/profiles.ts";
import { StoredCheckpoint } from "./stored-checkpoint.ts";

/** One part: few entries fill it. */
const INDEX_PARTS = 1;

/** What the pool asks a replica to send again. */
export type ResyncNeed = ReturnType<AnnounceIntake["residency"]>;

/** What a heartbeat says, as its frame has it. */
export interface Beat {
  seq: number;
  entries: number;
  load: { running: number; queued: number; usedKvTokens: number };
  running: readonly (LeaseKey & { state: "started" | "decoding"; outputTokens: number })[];
}

export interface Greeting {
  cancelled: LeaseKey[];
  need: ResyncNeed;
}

export interface CorePoolOptions {
  remotePrefillTokens: number | null;
  random: () => number;
  /** As the machine has it: may be set back and forth. */
  wallMs: () => number;
}

export class CorePool {
  state: PoolState;
  /** Frames, reports, decisions, ticks, steps of the clock, restarts. */
  events = 0;
  readonly #options: CorePoolOptions;
  #clock: PoolClock;
  #intake: AnnounceIntake;
  #dispatcher: Dispatcher;
  readonly #checkpoint: StoredCheckpoint;
  #index = createStorableIndex({ maxParts: INDEX_PARTS });

  constructor(options: CorePoolOptions) {
    this.#options = options;
    this.#clock = new PoolClock(options.wallMs());
    this.#checkpoint = new StoredCheckpoint(this.#index);
    this.state = this.#freshState();
    this.#intake = new AnnounceIntake(this.state);
    this.#dispatcher = this.#freshDispatcher();
  }

  #freshState(): PoolState {
    return new PoolState(this.#index, this.#options.remotePrefillTokens);
  }

  #freshDispatcher(): Dispatcher {
    return new Dispatcher(this.state, {
      profile: CACHE_AWARE,
      random: this.#options.random,
      mint: () => "admission",
      mintTicket: () => "ticket",
    });
  }

  /** The pool's clock. */
  nowMs(): number {
    return this.#clock.at(this.#options.wallMs());
  }

  decide(request: DecideRequest, answer: (answer: DecideAnswer) => void): DecideAnswer | null {
    this.events++;
    return this.#dispatcher.decide(request, this.nowMs(), answer);
  }

  waitedEnough(id: string, answer: (answer: DecideAnswer) => void): DecideAnswer {
    return this.#dispatcher.waitedEnough(id, answer);
  }

  leave(id: string): void {
    this.events++;
    this.#dispatcher.leave(id);
    const last = this.state.ring.get(id);
    if (last !== undefined) this.release({ id, attempt: last.attempt });
  }

  release(key: LeaseKey): void {
    this.events++;
    this.#dispatcher.release(key, this.nowMs());
    this.#dispatcher.dispatchWaiting(this.nowMs());
  }

  /** Of a replica that was welcomed before. */
  membership(event: Exclude<MembershipEvent, { kind: "hello" }>): void {
    this.events++;
    this.#intake.membership(event, this.nowMs());
    this.#dispatcher.dispatchWaiting(this.nowMs());
  }

  /** What was leased there before, and is to be cancelled, and what the replica has to send; null: the hello was refused. */
  hello(hello: ReplicaHello, connection: number, running: readonly LeaseKey[], seq: number): Greeting | null {
    this.events++;
    const nowMs = this.nowMs();
    const effects = this.#intake.membership({ kind: "hello", hello, connection, admitted: true }, nowMs);
    const replica = this.state.named(hello.name);
    if (replica === undefined || effects.some(({ kind }) => kind === "refused")) return null;
    const { slot } = replica;
    const cancelled = this.#intake.reconcile(slot, running, nowMs);
    const need = this.#intake.needAfterHello(slot, seq, nowMs);
    this.#dispatcher.dispatchWaiting(nowMs);
    return { cancelled, need };
  }

  residency(slot: number, update: ResidencyUpdate): ResyncNeed {
    this.events++;
    const need = this.#intake.residency(slot, update, this.nowMs());
    this.#dispatcher.dispatchWaiting(this.nowMs());
    return need;
  }

  heartbeat(slot: number, epoch: number, beat: Beat): ResyncNeed {
    this.events++;
    const said = { ...beat, usedKvTokens: beat.load.usedKvTokens };
    const { need } = this.#intake.heartbeat(slot, epoch, said, this.nowMs());
    this.#dispatcher.dispatchWaiting(this.nowMs());
    return need;
  }

  lease(slot: number, step: LeaseStep): void {
    this.events++;
    this.#intake.lease(slot, step, this.nowMs());
    this.#dispatcher.dispatchWaiting(this.nowMs());
  }

  tick(): MembershipEffect[] {
    this.events++;
    const effects = this.#intake.tick(this.nowMs());
    this.#dispatcher.dispatchWaiting(this.nowMs());
    return effects;
  }

  seqOf(slot: number): number {
    return this.#intake.seqOf(slot);
  }

  checkpoint(): void {
    this.events++;
    this.#checkpoint.save(this.state, this.#intake);
  }

  /** Memory is lost; what the last checkpoint has is there again. */
  forget(): void {
    this.events++;
    this.#clock = new PoolClock(this.#options.wallMs());
    this.#index = createStorableIndex({ maxParts: INDEX_PARTS });
    this.state = this.#freshState();
    this.#intake = new AnnounceIntake(this.state);
    this.#dispatcher = this.#freshDispatcher();
    this.#checkpoint.restore(this.#index, this.state, this.#intake, this.nowMs());
  }
}
