/** An engine without a model: continuous batching in real time, a queue, sequences, and steps that take as long as its truth says. */
import type { PromptSegments } from "./mock-cache.ts";
import { type MockTruth, STEP_TOKENS, stepMs } from "./truth.ts";

export interface EngineWork {
  promptTokens: number;
  outputTokens: number;
  /** What it may share with others that run. */
  segments: PromptSegments;
  /** Called when it leaves the queue: leading tokens that are cached by then. */
  started(): number;
  /** `prefillMs`: since `started`. */
  firstToken(prefillMs: number): void;
  token(): void;
  finished(prefillMs: number, decodeMs: number): void;
}

export interface EngineSize {
  sequences: number;
  queueLimit: number;
}

interface Sequence {
  work: EngineWork;
  /** Prompt tokens computed or cached. */
  done: number;
  written: number;
  startedAtMs: number;
  firstAtMs: number;
}

export class MockEngine {
  readonly #size: EngineSize;
  readonly #truth: MockTruth;
  readonly #random: () => number;
  readonly #queue: EngineWork[] = [];
  #running: Sequence[] = [];
  #timer: NodeJS.Timeout | null = null;
  #steps = { wantedMs: 0, tookMs: 0 };

  constructor(size: EngineSize, truth: MockTruth, random: () => number) {
    this.#size = size;
    this.#truth = truth;
    this.#random = random;
  }

  /** False: no place. */
  submit(work: EngineWork): boolean {
    const { sequences, queueLimit } = this.#size;
    if (this.#running.length + this.#queue.length >= sequences + queueLimit) return false;
    this.#queue.push(work);
    this.#timer ??= setTimeout(() => this.#step(), 0);
    return true;
  }

  /** Whether or not it has begun. */
  cancel(work: EngineWork): void {
    const waiting = this.#queue.indexOf(work);
    if (waiting >= 0) this.#queue.splice(waiting, 1);
    this.#running = this.#running.filter((sequence) => sequence.work !== work);
  }

  /** Everything it had is lost. */
  die(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#queue.length = 0;
    this.#running = [];
  }

  load(): { running: number; queued: number; usedKvTokens: number } {
    return { running: this.#running.length, queued: this.#queue.length, usedKvTokens: this.#usedKvTokens() };
  }

  /** Of those that run. What several of them hold together counts once; what nobody holds any more is a cache's, and not in use. */
  #usedKvTokens(): number {
    const held = new Set<bigint>();
    let used = 0;
    for (const { work, done, written } of this.#running) {
      let before = 0;
      for (const [at, hash] of work.segments.hashes.entries()) {
        const end = work.segments.tokenEnds[at] ?? 0;
        if (end > done) break;
        if (!held.has(hash)) used += end - before;
        held.add(hash);
        before = end;
      }
      used += done - before + written;
    }
    return used;
  }

  /** Of its steps since this was asked last. */
  takeSteps(): { wantedMs: number; tookMs: number } {
    const steps = this.#steps;
    this.#steps = { wantedMs: 0, tookMs: 0 };
    return steps;
  }

  #step(): void {
    this.#timer = null;
    const decoding = this.#running.filter(({ written }) => written > 0);
    let left = STEP_TOKENS;
    let pairs = 0;
    const computed: [Sequence, number][] = [];
    const compute = (sequence: Sequence): void => {
      const tokens = Math.min(left, sequence.work.promptTokens - sequence.done);
      left -= tokens;
      pairs += tokens * (sequence.done + tokens / 2);
      computed.push([sequence, tokens]);
    };
    for (const sequence of this.#running) if (sequence.written === 0 && left > 0) compute(sequence);
    while (left > 0 && this.#running.length < this.#size.sequences) {
      const work = this.#queue.shift();
      if (work === undefined) break;
      const startedAtMs = performance.now();
      // One token is always computed.
      const done = Math.min(work.started(), work.promptTokens - 1);
      const sequence: Sequence = { work, done, written: 0, startedAtMs, firstAtMs: 0 };
      this.#running.push(sequence);
      compute(sequence);
    }
    if (this.#running.length === 0) return;
    const { slowness, noise } = this.#truth;
    const times = Math.exp(noise * (2 * this.#random() - 1));
    const ms = times * stepMs({ tokens: STEP_TOKENS - left, pairs, decoding: decoding.length }, slowness);
    const beganMs = performance.now();
    this.#timer = setTimeout(() => {
      this.#steps.wantedMs += ms;
      this.#steps.tookMs += performance.now() - beganMs;
      this.#stepped(computed, decoding);
    }, ms);
  }

  #stepped(computed: readonly [Sequence, number][], decoding: readonly Sequence[]): void {
    const nowMs = performance.now();
    const alive = new Set(this.#running);
    for (const [sequence, tokens] of computed) {
      sequence.done += tokens;
      if (!alive.has(sequence) || sequence.done < sequence.work.promptTokens) continue;
      sequence.firstAtMs = nowMs;
      sequence.work.firstToken(nowMs - sequence.startedAtMs);
      this.#wrote(sequence, nowMs);
    }
    for (const sequence of decoding) if (alive.has(sequence)) this.#wrote(sequence, nowMs);
    this.#step();
  }

  #wrote(sequence: Sequence, nowMs: number): void {
    const { work, startedAtMs, firstAtMs } = sequence;
    sequence.written++;
    work.token();
    if (sequence.written < work.outputTokens) return;
    this.#running = this.#running.filter((other) => other !== sequence);
    work.finished(firstAtMs - startedAtMs, nowMs - firstAtMs);
  }
}
