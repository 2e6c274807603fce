/** The pool as a pool object holds it; what the shell adds is done here in memory. */
import type { LeaseReport, ResidencyFrame } from "../../../src/pool/frames.ts";
import type { LeaseKey } from "../../../src/pool/lease.ts";
import { PoolClock } from "../../../src/pool/pool-clock.ts";
import type { ReplicaHello } from "../../../src/pool/replica.ts";
import { createStorableIndex } from "../../../src/residency/typed-array-index.ts";
import { type AnswerTo, type DecideAnswer, type DecideRequest, Pool, type PoolEffect } from "../../../src/router/pool.ts";
import type { PoolState } from "../../../src/router/state.ts";
import type { ResyncNeed } from "../../../src/router/sync.ts";
import { CACHE_AWARE } from "../../../src/decision/profiles.ts";
import { StoredCheckpoint } from "./stored-checkpoint.ts";

/** One part: few entries fill it. */
const INDEX_PARTS = 1;

/** What a heartbeat says, as its frame has it. */
export interface Beat {
  seq: number;
  entries: number;
  load: { usedKvTokens: number };
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
  /** Frames, reports, decisions, ticks, steps of the clock, restarts. */
  events = 0;
  readonly #options: CorePoolOptions;
  #clock: PoolClock;
  #pool: Pool;
  readonly #checkpoint: StoredCheckpoint;
  #index = createStorableIndex({ maxParts: INDEX_PARTS });

  constructor(options: CorePoolOptions) {
    this.#options = options;
    this.#clock = new PoolClock(options.wallMs());
    this.#checkpoint = new StoredCheckpoint(this.#index);
    this.#pool = this.#freshPool();
  }

  #freshPool(): Pool {
    return new Pool({
      index: this.#index,
      remotePrefillTokens: this.#options.remotePrefillTokens,
      profile: CACHE_AWARE,
      random: this.#options.random,
      mint: () => "admission",
      mintTicket: () => "ticket",
    });
  }

  get state(): PoolState {
    return this.#pool.state;
  }

  /** The pool's clock. */
  nowMs(): number {
    return this.#clock.at(this.#options.wallMs());
  }

  decide(request: DecideRequest, to: AnswerTo): DecideAnswer | null {
    this.events++;
    const { answer, effects } = this.#pool.decide(request, this.nowMs(), to);
    this.#answer(effects);
    return answer;
  }

  waitedEnough(id: string, to: AnswerTo): DecideAnswer {
    return this.#pool.waitedEnough(id, to);
  }

  leave(id: string): void {
    this.events++;
    this.#answer(this.#pool.leave(id, this.nowMs()));
  }

  release(key: LeaseKey): void {
    this.events++;
    this.#answer(this.#pool.release(key, this.nowMs()));
  }

  parted(slot: number, connection: number): void {
    this.events++;
    this.#answer(this.#pool.parted(slot, connection, this.nowMs()));
  }

  drain(slot: number, epoch: number): void {
    this.events++;
    this.#answer(this.#pool.drain(slot, epoch, this.nowMs()));
  }

  /** What was leased there before, and is to be cancelled, and what the replica has to send; null: the hello was refused. */
  hello(hello: ReplicaHello, connection: number, running: readonly LeaseKey[], seq: number): Greeting | null {
    this.events++;
    const effects = this.#pool.hello({ hello, connection, admitted: true, running, seq }, this.nowMs());
    this.#answer(effects);
    if (!effects.some(({ kind }) => kind === "welcome")) return null;
    return { cancelled: effects.flatMap((effect) => (effect.kind === "cancel" ? [effect.key] : [])), need: needOf(effects) };
  }

  residency(slot: number, update: ResidencyFrame): ResyncNeed {
    this.events++;
    return needOf(this.#answer(this.#pool.residency(slot, update, this.nowMs())));
  }

  heartbeat(slot: number, epoch: number, beat: Beat): ResyncNeed {
    this.events++;
    return needOf(this.#answer(this.#pool.heartbeat(slot, epoch, beat, this.nowMs())));
  }

  lease(slot: number, step: LeaseReport): void {
    this.events++;
    this.#answer(this.#pool.leaseReports(slot, [step], this.nowMs()));
  }

  tick(): PoolEffect[] {
    this.events++;
    return this.#answer(this.#pool.tick(this.nowMs()));
  }

  seqOf(slot: number): number {
    return this.#pool.seqOf(slot);
  }

  checkpoint(): void {
    this.events++;
    this.#checkpoint.save(this.#pool);
  }

  /** Memory is lost; what the last checkpoint has is there again. */
  forget(): void {
    this.events++;
    this.#clock = new PoolClock(this.#options.wallMs());
    this.#index = createStorableIndex({ maxParts: INDEX_PARTS });
    this.#pool = this.#freshPool();
    this.#checkpoint.restore(this.#index, this.#pool, this.nowMs());
  }

  #answer(effects: PoolEffect[]): PoolEffect[] {
    for (const effect of effects) if (effect.kind === "answer") effect.to(effect.answer);
    return effects;
  }
}

function needOf(effects: readonly PoolEffect[]): ResyncNeed {
  return effects.find((effect) => effect.kind === "resync") ?? null;
}
