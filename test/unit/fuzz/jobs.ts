/** What runs on a replica: prefills one after the other, decodes side by side, as many as it has sequences; others wait in its own queue. */
import { type LeaseKey, prefillLease } from "../../../src/pool/lease.ts";
import type { ReplicaAnswer } from "../../../src/router/dispatcher.ts";
import type { TransferReport } from "../../../src/pool/frames.ts";
import type { Beat } from "./core-pool.ts";
import { type Ask, SEGMENT_TOKENS } from "./history.ts";
import { mix, type Prompt } from "./prompts.ts";
import type { Replica } from "./replica.ts";

/** Of one step of a decode, and what another sequence adds, ms. */
const STEP_MS = 10;
const SEQUENCE_MS = 0.5;
/** A remote prefill that does not come by then is computed here. */
const REMOTE_PATIENCE_MS = 10_000;

export interface Job extends LeaseKey {
  ask: Ask;
  /** Distinguishes its noise. */
  number: number;
  prompt: Prompt;
  answer: ReplicaAnswer | null;
  takenAtMs: number;
  state: "queued" | "prefilling" | "decoding";
  cachedTokens: number;
  firstTokenAtMs: number;
  stepMs: number;
  /** Its replica is gone, or refused it. */
  broken(): void;
  firstToken(): void;
  ended(): void;
}

interface Part {
  cachedTokens: number;
  ms: number;
  loadedTokens?: number;
  loadMs?: number;
  transfer?: TransferReport;
}

export class JobQueue {
  readonly #replica: Replica;
  readonly #jobs = new Map<string, Job>();
  /** Counts jobs that are gone. */
  removed = 0;
  #prefilling = false;

  constructor(replica: Replica) {
    this.#replica = replica;
  }

  get size(): number {
    return this.#jobs.size;
  }

  get(key: string): Job | undefined {
    return this.#jobs.get(key);
  }

  values(): Iterable<Job> {
    return this.#jobs.values();
  }

  clear(): Job[] {
    const all = [...this.#jobs.values()];
    this.#jobs.clear();
    this.#prefilling = false;
    return all;
  }

  running(): Beat["running"] {
    const { nowMs } = this.#replica.world;
    return [...this.#jobs.values()].map((job) => {
      const { id, attempt, state } = job;
      const outputTokens = state === "decoding" ? this.#written(job, nowMs) : 0;
      return { id, attempt, state: state === "decoding" ? ("decoding" as const) : ("started" as const), outputTokens };
    });
  }

  load(): Beat["load"] {
    const { nowMs } = this.#replica.world;
    const load = { usedKvTokens: this.#replica.held.pinnedSegments * SEGMENT_TOKENS };
    for (const job of this.#jobs.values()) {
      if (job.state === "decoding") load.usedKvTokens += (job.prompt.tokens % SEGMENT_TOKENS) + this.#written(job, nowMs);
    }
    return load;
  }

  #written({ firstTokenAtMs, stepMs, ask }: Job, nowMs: number): number {
    return Math.min(ask.outputTokens, 1 + Math.floor((nowMs - firstTokenAtMs) / stepMs));
  }

  /** False: it has no room. */
  take(job: Job): boolean {
    const replica = this.#replica;
    const { sequences, queueLimit } = replica.setup;
    if (!replica.alive || this.#jobs.has(keyText(job)) || this.#jobs.size >= sequences + queueLimit) return false;
    this.#jobs.set(keyText(job), job);
    replica.later(0, () => {
      if (this.#jobs.get(keyText(job)) !== job) return;
      replica.report({ event: "started", id: job.id, attempt: job.attempt });
      this.#pump();
    });
    return true;
  }

  cancel(key: LeaseKey): void {
    const job = this.#jobs.get(keyText(key));
    if (job === undefined) return;
    this.#remove(job);
    // Whoever reads its answer sees it end.
    job.broken();
  }

  #remove(job: Job): void {
    this.#jobs.delete(keyText(job));
    this.removed++;
    if (job.state !== "queued") this.#replica.held.unpin(job.prompt);
    if (job.state === "prefilling") this.#prefilling = false;
    this.#replica.later(0, () => this.#pump());
  }

  #pump(): void {
    if (this.#prefilling) return;
    let active = 0;
    let next: Job | null = null;
    for (const job of this.#jobs.values()) {
      if (job.state !== "queued") active++;
      else next ??= job;
    }
    if (next === null || active >= this.#replica.setup.sequences) return;
    this.#begin(next);
  }

  #begin(job: Job): void {
    const replica = this.#replica;
    this.#prefilling = true;
    job.state = "prefilling";
    const part = this.#partOf(job);
    replica.held.pin(job.prompt);
    const done = (): void => {
      if (this.#jobs.get(keyText(job)) !== job) return;
      if (replica.hung) return replica.later(replica.hungUntilMs - replica.world.nowMs, done);
      this.#firstToken(job, part);
    };
    const { prefill } = job.answer ?? {};
    if (prefill === undefined) replica.later(part.ms, done);
    else this.#awaitRemote(job, part, prefill.replica, done);
  }

  /** What it finds in place, loads and pulls, and how long all of it takes. */
  #partOf({ ask, number, prompt, answer }: Job): Part {
    const replica = this.#replica;
    const { loadMsPerToken, transferMsPerToken } = replica.world.setup;
    const most = prompt.tokens - 1;
    const held = replica.held.overlap(prompt);
    const part: Part = { cachedTokens: Math.min(most, held.deviceTokens), ms: 0 };
    if (held.tokens > held.deviceTokens && answer?.load !== false) {
      part.loadedTokens = held.tokens - held.deviceTokens;
      part.loadMs = ask.takes?.loadMs ?? part.loadedTokens * loadMsPerToken * replica.noise(number, 1);
      part.cachedTokens = Math.min(most, held.tokens);
      part.ms += part.loadMs;
    }
    const { pull } = answer ?? {};
    const sender = pull === undefined ? undefined : replica.world.named(pull.replica);
    if (pull !== undefined && sender !== undefined && sender.alive) {
      const tokens = Math.min(pull.tokens, most - part.cachedTokens);
      const ms = ask.takes?.transferMs ?? (tokens * transferMsPerToken + 0.01) * replica.noise(number, 2);
      part.transfer = { kind: "pull", replica: sender.name, outcome: "used", bytes: tokens * 1_000, ms, tokens };
      part.cachedTokens += Math.max(0, tokens);
      part.ms += ms;
    }
    part.ms += ask.takes?.prefillMs ?? replica.prefillMs(part.cachedTokens, prompt.tokens - part.cachedTokens) * replica.noise(number, 3);
    return part;
  }

  /** Another replica computes it; it comes from there, or is computed here after all. */
  #awaitRemote(job: Job, part: Part, from: string, done: () => void): void {
    const replica = this.#replica;
    const sender = replica.world.named(from);
    const wholeMs = part.ms;
    const tokens = job.prompt.tokens - part.cachedTokens;
    let over = false;
    const finish = (outcome: "used" | "fallback"): void => {
      if (over) return;
      over = true;
      const ms = outcome === "used" ? (tokens * replica.world.setup.transferMsPerToken + 0.01) * replica.noise(job.number, 2) : 0;
      part.transfer = { kind: "prefill", replica: from, outcome, bytes: tokens * 1_000, ms, tokens };
      if (outcome === "used") part.cachedTokens = job.prompt.tokens - 1;
      part.ms = outcome === "used" ? ms : wholeMs;
      replica.later(part.ms, done);
    };
    const there: Job = {
      ...job,
      ...prefillLease(job),
      ask: { ...job.ask, outputTokens: 0 },
      number: mix(job.number, 7),
      answer: null,
      state: "queued",
      broken: () => finish("fallback"),
      firstToken: () => finish("used"),
      ended: () => undefined,
    };
    if (sender === undefined || sender.jobs.take(there) === false) return finish("fallback");
    replica.later(REMOTE_PATIENCE_MS, () => finish("fallback"));
  }

  #firstToken(job: Job, part: Part): void {
    const replica = this.#replica;
    const { announceMs } = replica.world.setup;
    this.#prefilling = false;
    job.state = "decoding";
    job.cachedTokens = part.cachedTokens;
    job.firstTokenAtMs = replica.world.nowMs;
    job.stepMs = replica.setup.pace * (STEP_MS + SEQUENCE_MS * this.#jobs.size) * replica.noise(job.number, 4);
    if (announceMs < 0) replica.journal.flush(replica.connection !== null);
    const { ms: prefillMs, cachedTokens, ...more } = part;
    replica.report({
      event: "decoding",
      id: job.id,
      attempt: job.attempt,
      promptTokens: job.prompt.tokens,
      cachedTokens,
      prefillMs,
      ...more,
    });
    if (announceMs >= 0) replica.later(announceMs, () => replica.journal.flush(replica.connection !== null));
    job.firstToken();
    replica.later(job.stepMs * Math.max(0, job.ask.outputTokens - 1), () => this.#end(job));
    this.#pump();
  }

  #end(job: Job): void {
    if (this.#jobs.get(keyText(job)) !== job) return;
    const replica = this.#replica;
    this.#remove(job);
    const { id, attempt, ask, prompt, cachedTokens } = job;
    const { outputTokens } = ask;
    const decodeMs = replica.world.nowMs - job.firstTokenAtMs;
    replica.report({ event: "settled", id, attempt, promptTokens: prompt.tokens, cachedTokens, outputTokens, decodeMs });
    job.ended();
  }
}

export function keyText({ id, attempt }: LeaseKey): string {
  return `${attempt} ${id}`;
}
