/** A pool with replicas that compute in virtual time: prefills one after the other, decodes side by side, events as real replicas send them. */
import type { LeaseReport } from "../../../src/pool/frames.ts";
import type { Role } from "../../../src/pool/replica.ts";
import { createSegmentIndex } from "../../../src/residency/typed-array-index.ts";
import { type DecideAnswer, type DecideRequest, Pool, type PoolEffect, type ReplicaAnswer } from "../../../src/router/pool.ts";
import type { PoolState } from "../../../src/router/state.ts";
import { CACHE_AWARE } from "../../../src/decision/profiles.ts";

export interface ModelReplica {
  name: string;
  prefillMsPerToken: number;
  decodeMsPerToken: number;
  roles?: readonly Role[];
  transfers?: boolean;
  capacity?: { sequences?: number; kvTokens?: number; queueLimit?: number; contextTokens?: number; stepTokens?: number };
}

export interface Job {
  id: string;
  promptTokens: number;
  outputTokens: number;
  more?: Partial<DecideRequest>;
  /** Filled in. */
  askedAtMs?: number;
  answer?: DecideAnswer;
  answeredAtMs?: number;
  firstTokenAtMs?: number;
}

interface Running {
  model: ModelReplica;
  slot: number;
  alive: boolean;
  /** Until when its prefills go on. */
  busyUntilMs: number;
}

interface Event {
  atMs: number;
  order: number;
  run(): void;
}

const EDGE_HOLDS_MS = 5_000;
const TICK_MS = 250;

export class ModelPool {
  readonly pool: Pool;
  readonly replicas = new Map<string, Running>();
  nowMs = 1_000;
  #events: Event[] = [];
  #order = 0;

  constructor(
    models: readonly ModelReplica[],
    options: { roll?: () => number; remotePrefillTokens?: number | null; profile?: typeof CACHE_AWARE } = {},
  ) {
    this.pool = new Pool({
      index: createSegmentIndex({}),
      remotePrefillTokens: options.remotePrefillTokens ?? null,
      profile: options.profile ?? CACHE_AWARE,
      random: options.roll ?? (() => 0),
      mint: (replica) => (this.replicas.get(replica.name)?.alive === true ? "admission" : null),
      mintTicket: () => "ticket",
    });
    for (const model of models) this.join(model);
  }

  get state(): PoolState {
    return this.pool.state;
  }

  join(model: ModelReplica): void {
    const { name, roles = ["prefill", "decode"], transfers } = model;
    const capacity = { sequences: 4, kvTokens: 100_000, blockTokens: 16, contextTokens: 32_768, queueLimit: 2, ...model.capacity };
    const identity = { name, epoch: this.nowMs, url: `http://${name}`, roles, model: "m", specFingerprint: "v1", transfers };
    // Its key is there before its hello.
    const running: Running = { model, slot: -1, alive: true, busyUntilMs: 0 };
    this.replicas.set(name, running);
    const introduction = { hello: { ...identity, capacity }, connection: this.nowMs, admitted: true, running: [], seq: 0 };
    const effects = this.pool.hello(introduction, this.nowMs);
    running.slot = this.state.named(name)?.slot ?? -1;
    this.carryOut(effects);
  }

  drain(name: string): void {
    const { slot = -1, epoch = 0 } = this.state.named(name) ?? {};
    this.carryOut(this.pool.drain(slot, epoch, this.nowMs));
  }

  kill(name: string): void {
    const running = this.replicas.get(name);
    const replica = this.state.named(name);
    if (running === undefined || replica === undefined) return;
    running.alive = false;
    this.carryOut(this.pool.parted(replica.slot, replica.connection ?? -1, this.nowMs));
  }

  /** Its models end and cancel nothing. */
  carryOut(effects: readonly PoolEffect[]): void {
    for (const effect of effects) if (effect.kind === "answer") effect.to(effect.answer);
  }

  /** Rates are known from the start, as if it had run for a while. */
  teach(): void {
    this.state.rates.reportPrompt(4_000, 1_000);
    for (const { model, slot } of this.replicas.values()) {
      for (let n = 1; n <= 20; n++) {
        const prefillMs = n * 100 * model.prefillMsPerToken;
        const report = { uncachedTokens: n * 100, cachedTokens: 0, prefillMs, endedAtMs: n * -1e6, untold: 0 };
        this.state.rates.reportPrefill(slot, report);
      }
    }
  }

  ask(job: Job): void {
    job.askedAtMs ??= this.nowMs;
    const bytes = job.promptTokens * 4;
    const request: DecideRequest = {
      id: job.id,
      tenant: "t",
      salt: "s",
      fingerprint: "v1",
      chain: new BigUint64Array(),
      promptBytes: bytes,
      path: "/v1/chat/completions",
      bodyBytes: bytes,
      digest: "",
      arrivedAtMs: job.askedAtMs,
      ...job.more,
    };
    const answered = (answer: DecideAnswer): void => {
      if (job.answer !== undefined) throw new Error(`${job.id} was answered twice`);
      job.answer = answer;
      job.answeredAtMs = this.nowMs;
      if (answer.type === "replica") this.#start(job, answer);
    };
    const hold = (): void => {
      const { answer, effects } = this.pool.decide(request, this.nowMs, answered);
      this.carryOut(effects);
      if (answer !== null) return answered(answer);
      this.at(this.nowMs + EDGE_HOLDS_MS, () => {
        if (job.answer !== undefined) return;
        this.pool.waitedEnough(job.id, answered);
        hold();
      });
    };
    hold();
  }

  at(atMs: number, run: () => void): void {
    this.#events.push({ atMs, order: this.#order++, run });
  }

  /** Runs all events up to then, heartbeats and ticks between them. */
  pass(ms: number, after: () => void = () => undefined): void {
    const untilMs = this.nowMs + ms;
    let tickAtMs = this.nowMs + TICK_MS;
    for (;;) {
      this.#events.sort((a, b) => a.atMs - b.atMs || a.order - b.order);
      const [next] = this.#events;
      const atMs = Math.min(next?.atMs ?? Infinity, tickAtMs);
      if (atMs > untilMs) break;
      this.nowMs = atMs;
      if (next !== undefined && next.atMs <= tickAtMs) {
        this.#events.shift();
        next.run();
      } else {
        tickAtMs += TICK_MS;
        for (const { alive, slot } of this.replicas.values()) {
          const replica = this.state.replica(slot);
          if (!alive || replica === undefined) continue;
          const running = [...this.state.leases.leasesOf(slot)].map(({ id, attempt }) => ({ id, attempt, state: "started" as const }));
          this.carryOut(this.pool.heartbeat(slot, replica.epoch, { seq: 0, entries: 0, load: { usedKvTokens: 0 }, running }, this.nowMs));
        }
        this.carryOut(this.pool.tick(this.nowMs));
      }
      after();
    }
    this.nowMs = untilMs;
  }

  #start(job: Job, answer: ReplicaAnswer): void {
    const running = this.replicas.get(answer.replica);
    if (running === undefined) throw new Error(`no replica ${answer.replica}`);
    const { model, slot } = running;
    const key = { id: job.id, attempt: answer.attempt };
    const startMs = Math.max(this.nowMs, running.busyUntilMs);
    const prefillMs = job.promptTokens * model.prefillMsPerToken;
    const firstTokenMs = startMs + prefillMs;
    running.busyUntilMs = firstTokenMs;
    const { promptTokens, outputTokens } = job;
    const report = (atMs: number, run: () => void): void => this.at(atMs, () => (running.alive ? run() : undefined));
    report(this.nowMs, () => this.#report(slot, { event: "started", ...key }));
    report(firstTokenMs, () => {
      job.firstTokenAtMs = this.nowMs;
      this.#report(slot, { event: "decoding", ...key, promptTokens, cachedTokens: 0, prefillMs });
    });
    const decodeMs = outputTokens * model.decodeMsPerToken;
    report(firstTokenMs + decodeMs, () => {
      this.#report(slot, { event: "settled", ...key, promptTokens, cachedTokens: 0, outputTokens, decodeMs });
    });
  }

  #report(slot: number, step: LeaseReport): void {
    this.carryOut(this.pool.leaseReports(slot, [step], this.nowMs));
  }
}
