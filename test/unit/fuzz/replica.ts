/** A replica that behaves like a real one: it computes, holds, evicts, announces, beats, dies. It may be told to be odd. */
import type { LeaseReport, ResidencyFrame } from "../../../src/pool/frames.ts";
import type { LeaseKey } from "../../../src/pool/lease.ts";
import { AnnounceJournal } from "./announce-journal.ts";
import type { Beat } from "./core-pool.ts";
import type { ReplicaSetup, Setup } from "./history.ts";
import { Holdings } from "./holdings.ts";
import { type Job, JobQueue, keyText } from "./jobs.ts";
import { mix, share } from "./prompts.ts";
import type { World } from "./world.ts";

const HEARTBEAT_MS = 1_000;
const RECONNECT_MS = 200;

export class Replica {
  readonly number: number;
  readonly name: string;
  readonly setup: ReplicaSetup;
  readonly held: Holdings;
  readonly jobs: JobQueue;
  readonly journal: AnnounceJournal;
  readonly world: World;
  epoch = 0;
  alive = false;
  draining = false;
  /** Null: its socket is closed, or its hello was not taken yet. */
  connection: number | null = null;
  /** Of its last hello that was taken. */
  #greetedEpoch = 0;
  frozenUntilMs = 0;
  hungUntilMs = 0;
  /** When it was last heard, true time. */
  heardAtMs = 0;
  /** When its hello was taken last, true time. */
  joinedAtMs = 0;

  constructor(number: number, setup: ReplicaSetup, world: World) {
    this.number = number;
    this.name = `r${number}`;
    this.setup = setup;
    this.world = world;
    this.held = new Holdings(setup.kvTokens, setup.hostTokens ?? 0, (hash) => this.journal.changed(hash));
    this.journal = new AnnounceJournal(this.held, (update) => this.#frame(update));
    this.jobs = new JobQueue(this);
  }

  /** As the pool has it; -1 while it knows no such replica. */
  get slot(): number {
    return this.world.pool.state.named(this.name)?.slot ?? -1;
  }

  /** What comes over its socket is taken for its own. */
  get isHeard(): boolean {
    return this.connection !== null && this.world.pool.state.named(this.name)?.connection === this.connection;
  }

  /** e^x, x uniform within the noise; the same for the same things. */
  noise(...of: readonly number[]): number {
    const { seed, noise } = this.world.setup;
    return Math.exp(noise * (2 * share(of.reduce(mix, seed), this.number) - 1));
  }

  /** Without noise, ms. */
  prefillMs(cachedTokens: number, uncachedTokens: number): number {
    return this.setup.pace * prefillTruth(this.world.setup, cachedTokens, uncachedTokens);
  }

  get frozen(): boolean {
    return this.world.nowMs < this.frozenUntilMs;
  }

  get hung(): boolean {
    return this.world.nowMs < this.hungUntilMs;
  }

  /** Does something later, unless its process has ended; while it is frozen nothing happens. */
  later(ms: number, happen: () => void): void {
    const { epoch } = this;
    const run = (): void => {
      if (!this.alive || this.epoch !== epoch) return;
      if (this.frozen) this.world.timeline.at(this.frozenUntilMs, run);
      else happen();
    };
    this.world.timeline.after(ms, run);
  }

  start(): void {
    if (this.alive) return;
    this.alive = true;
    this.draining = false;
    this.epoch = Math.max(this.epoch + 1, Math.floor(this.world.nowMs));
    this.held.clear();
    this.jobs.clear();
    this.journal.restart();
    this.frozenUntilMs = 0;
    this.hungUntilMs = 0;
    this.hello();
    this.later((37 * this.number) % HEARTBEAT_MS, () => this.#beat());
  }

  die(): void {
    if (!this.alive) return;
    this.alive = false;
    this.#closed();
    for (const job of this.jobs.clear()) job.broken();
  }

  cut(ms: number): void {
    if (!this.alive || this.connection === null) return;
    this.#closed();
    this.later(ms, () => this.hello());
  }

  /** The pool has closed its socket, or never answered. */
  partedByPool(): void {
    this.connection = null;
    this.later(RECONNECT_MS, () => this.hello());
  }

  #closed(): void {
    const { connection, slot } = this;
    this.connection = null;
    if (connection !== null) this.world.pool.parted(slot, connection);
  }

  hello(running: readonly LeaseKey[] = this.jobs.running(), sequences = this.setup.sequences): void {
    if (!this.alive || this.connection !== null) return;
    const { pool } = this.world;
    this.journal.flush(false);
    const { roles = ["prefill", "decode"], transfers, kvTokens, queueLimit } = this.setup;
    const capacity = { sequences, kvTokens, blockTokens: 16, contextTokens: 131_072, queueLimit };
    const identity = {
      name: this.name,
      epoch: this.epoch,
      url: `http://${this.name}`,
      roles,
      model: "m",
      specFingerprint: "spec",
      transfers,
    };
    const connection = this.world.nextConnection();
    // Before whatever is placed in its new life.
    if (this.#greetedEpoch !== this.epoch) this.world.tell("forgotten", this);
    const greeting = pool.hello({ ...identity, capacity }, connection, running, this.journal.seq);
    if (greeting === null) return this.later(1_000, () => this.hello());
    const { cancelled, need } = greeting;
    this.connection = connection;
    this.heardAtMs = this.world.nowMs;
    this.joinedAtMs = this.world.nowMs;
    for (const key of cancelled) this.jobs.cancel(key);
    this.#greetedEpoch = this.epoch;
    this.world.tell("joined", this, need);
    if (need !== null) this.journal.resync(need.afterSeq);
    if (this.draining) this.drain();
  }

  drain(): void {
    this.draining = true;
    if (this.isHeard) this.world.pool.drain(this.slot, this.epoch);
  }

  #frame(update: ResidencyFrame): void {
    if (!this.isHeard || this.setup.silent === true) return;
    this.world.tell("framing", this, update);
    const need = this.world.pool.residency(this.slot, update);
    this.world.tell("framed", this, update, need);
    if (need !== null) this.later(5, () => this.journal.resync(need.afterSeq));
  }

  /** What its socket carries; nothing while that is closed. */
  report(step: LeaseReport): void {
    if (!this.isHeard) return;
    this.world.tell("reporting", this, step);
    this.world.pool.lease(this.slot, step);
    this.world.tell("reported", this, step);
  }

  beat(changes: Partial<Pick<Beat, "entries" | "load">> & { outputTokens?: number } = {}): void {
    if (!this.isHeard) return;
    this.journal.flush(true);
    const { outputTokens, ...more } = changes;
    const running = this.jobs.running().map((job) => ({ ...job, outputTokens: outputTokens ?? job.outputTokens }));
    const silent = this.setup.silent === true;
    const said = { seq: silent ? 0 : this.journal.seq, entries: silent ? 0 : this.held.size };
    const beat: Beat = { ...said, load: this.jobs.load(), running, ...more };
    this.heardAtMs = this.world.nowMs;
    const need = this.world.pool.heartbeat(this.slot, this.epoch, beat);
    this.world.tell("beaten", this, beat, need);
    if (need !== null) this.later(5, () => this.journal.resync(need.afterSeq));
  }

  #beat(): void {
    this.beat();
    this.later(HEARTBEAT_MS, () => this.#beat());
  }

  /** The lease's job, if it has it. */
  job(key: LeaseKey): Job | undefined {
    return this.jobs.get(keyText(key));
  }
}

/** Of a replica with pace 1, ms: a constant, and a quarter more where the prompt has 4,000 tokens. */
export function prefillTruth(
  { prefillMsPerToken, constantTokens }: Pick<Setup, "prefillMsPerToken" | "constantTokens">,
  cachedTokens: number,
  uncachedTokens: number,
): number {
  return prefillMsPerToken * (constantTokens + uncachedTokens + (uncachedTokens * (cachedTokens + uncachedTokens / 2)) / 8_000);
}
