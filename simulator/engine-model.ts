/**
 * One simulated engine: first come first served, continuous batching with chunked prefill, an LRU block cache, preemption by recompute. It is advanced
 * from one change to the next: a step with prefill in it stands alone, steps that only decode are taken together until a sequence ends or someone
 * comes, their times summed in closed form. Times are virtual ms, given by the caller.
 */
import { BlockCache } from "./block-cache.ts";
import type { EngineConstants } from "./constants.ts";
import type { SegmentTree } from "./plan.ts";
import { Sequence, type Job } from "./sequence.ts";
import { decodeStepsFor, decodeStepsMs, pairsOf, stepMs } from "./step-time.ts";

export interface EngineOptions {
  /** Host memory for blocks that leave the device; 0: none. */
  hostTokens: number;
  /** Generated blocks stay in the cache, where the plan knows their segments. */
  reuseGenerated: boolean;
}

/** What it says, always as of the time it is advanced to. */
export interface EngineListener {
  started(sequence: Sequence, nowMs: number): void;
  firstToken(sequence: Sequence, nowMs: number): void;
  finished(sequence: Sequence, nowMs: number): void;
  /** What it computed is in place: what changed in its cache by then can be said. */
  stepped(): void;
  /** `count` gaps between two tokens of a sequence, of `ms` each on average. */
  gaps(count: number, ms: number): void;
}

interface Run {
  startMs: number;
  endMs: number;
  steps: number;
  decoding: number;
  contextTokens: number;
  /** Tokens of prefill that each of `prefilling` gets in this one step; empty: only decoding. */
  chunks: { sequence: Sequence; tokens: number }[];
}

export class EngineModel {
  readonly cache: BlockCache;
  readonly #engine: EngineConstants;
  readonly #options: EngineOptions;
  readonly #tree: SegmentTree;
  readonly #listener: EngineListener;
  #waiting: Sequence[] = [];
  /** In order of admission. */
  #running: Sequence[] = [];
  #run: Run | null = null;
  /** Nothing to compute until then: a load is under way. */
  #idleUntilMs = Infinity;
  #loaderFreeAtMs = 0;
  /** Planning: who hears of it may submit more, which the plan under way then finds in the queue. */
  #planning = false;
  preemptions = 0;

  constructor(engine: EngineConstants, tree: SegmentTree, options: EngineOptions, listener: EngineListener) {
    this.#engine = engine;
    this.#tree = tree;
    this.#options = options;
    this.#listener = listener;
    this.cache = new BlockCache(tree, { blockTokens: engine.blockTokens, deviceTokens: engine.kvTokens, hostTokens: options.hostTokens });
  }

  get hasHostTier(): boolean {
    return this.#options.hostTokens > 0;
  }

  get running(): readonly Sequence[] {
    return this.#running;
  }

  get waiting(): readonly Sequence[] {
    return this.#waiting;
  }

  /** When `advance` next has something to do; Infinity when nothing is asked of it. */
  get nextMs(): number {
    return this.#run?.endMs ?? this.#idleUntilMs;
  }

  /** False: prompt and answer together would never fit. */
  submit(job: Job, nowMs: number): boolean {
    const { promptTokens } = job.request;
    if (promptTokens + job.outputTokens + this.#engine.blockTokens > this.#engine.kvTokens) return false;
    this.#waiting.push(new Sequence(job, nowMs));
    this.#interrupt(nowMs);
    return true;
  }

  /** Gives a sequence up; undefined when it is not here. Its KV room is free after the step that is under way. */
  cancel(key: string, nowMs: number): Sequence | undefined {
    const mine = (sequence: Sequence): boolean => sequence.job.key === key && !sequence.over;
    const sequence = this.#waiting.find(mine) ?? this.#running.find(mine);
    if (sequence === undefined) return undefined;
    sequence.over = true;
    const queued = this.#waiting.indexOf(sequence);
    if (queued >= 0) this.#waiting.splice(queued, 1);
    this.#interrupt(nowMs);
    return sequence;
  }

  /** Output tokens of a running sequence so far, those of the steps under way included. */
  outputOf(sequence: Sequence, nowMs: number): number {
    const run = this.#run;
    if (run === null || sequence.firstTokenAtMs === null || run.chunks.length > 0) return sequence.outputTokens;
    const share = (nowMs - run.startMs) / Math.max(1e-9, run.endMs - run.startMs);
    return sequence.outputTokens + Math.floor(run.steps * Math.min(1, Math.max(0, share)));
  }

  /** Call at `nextMs`. */
  advance(nowMs: number): void {
    if (this.#run !== null) {
      if (this.#run.endMs > nowMs) return;
      this.#complete(this.#run, nowMs);
      this.#run = null;
    }
    this.#plan(nowMs);
  }

  /** Someone came or went: decoding alone is cut at the end of the step under way, and an idle engine begins. */
  #interrupt(nowMs: number): void {
    const run = this.#run;
    if (this.#planning) return;
    if (run === null) return this.#plan(nowMs);
    if (run.chunks.length > 0 || run.steps <= 1) return;
    const { decoding, contextTokens, startMs } = run;
    const steps = decodeStepsFor(this.#engine, decoding, contextTokens, nowMs - startMs);
    if (steps >= run.steps) return;
    run.steps = steps;
    run.endMs = startMs + decodeStepsMs(this.#engine, decoding, contextTokens, steps);
  }

  #complete(run: Run, nowMs: number): void {
    if (run.decoding > 0) this.#listener.gaps(run.decoding * run.steps, (run.endMs - run.startMs) / run.steps);
    for (const sequence of this.#running) if (sequence.decodes) sequence.outputTokens += run.steps;
    for (const { sequence, tokens } of run.chunks) sequence.positionTokens += tokens;
    const running = this.#running;
    let kept = 0;
    for (const sequence of running) {
      if (!sequence.over && sequence.positionTokens >= sequence.targetTokens && !sequence.decodes) this.#prefilled(sequence, nowMs);
      if (!sequence.over && sequence.decodes && sequence.outputTokens >= sequence.job.outputTokens) this.#finish(sequence, nowMs);
      if (sequence.over) sequence.release(this.cache, this.#options.reuseGenerated);
      else running[kept++] = sequence;
    }
    running.length = kept;
    this.#listener.stepped();
  }

  #prefilled(sequence: Sequence, nowMs: number): void {
    sequence.decodes = true;
    // The prefill's last step gives a token, after a preemption too.
    sequence.outputTokens++;
    if (sequence.firstTokenAtMs !== null) return;
    sequence.firstTokenAtMs = nowMs;
    this.#listener.firstToken(sequence, nowMs);
  }

  #finish(sequence: Sequence, nowMs: number): void {
    sequence.over = true;
    this.#listener.finished(sequence, nowMs);
  }

  #plan(nowMs: number): void {
    this.#idleUntilMs = Infinity;
    this.#planning = true;
    // A sequence may end as it is admitted, all of its prompt fetched and one token to give.
    for (let again = true; again;) again = this.#planOnce(nowMs);
    this.#planning = false;
  }

  /** True: something ended at once, plan again. */
  #planOnce(nowMs: number): boolean {
    this.#sweep();
    this.#makeRoomToDecode(1);
    let decoding = 0;
    let contextTokens = 0;
    for (const sequence of this.#running) {
      if (!sequence.decodes) continue;
      decoding++;
      contextTokens += sequence.contextTokens;
    }
    const chunks: Run["chunks"] = [];
    let budget = this.#engine.stepTokens - decoding;
    let pairs = 0;
    let prefillTokens = 0;
    let soonestMs = Infinity;
    const give = (sequence: Sequence): void => {
      if (sequence.decodes || sequence.over) return;
      if (sequence.readyAtMs > nowMs) {
        soonestMs = Math.min(soonestMs, sequence.readyAtMs);
        return;
      }
      const tokens = Math.min(budget, sequence.targetTokens - sequence.positionTokens);
      if (tokens <= 0) return;
      chunks.push({ sequence, tokens });
      sequence.markReady(this.cache, tokens);
      budget -= tokens;
      prefillTokens += tokens;
      pairs += pairsOf(tokens, sequence.positionTokens);
    };
    for (const sequence of this.#running) give(sequence);
    while (budget > 0 && this.#admit(nowMs)) {
      const sequence = this.#running.at(-1);
      if (sequence !== undefined) give(sequence);
    }
    if (this.#placeWhole(nowMs)) return true;
    if (chunks.length > 0) {
      const endMs = nowMs + stepMs(this.#engine, { prefillTokens, pairs, decoding, contextTokens });
      this.#growDecoding(1);
      this.#run = { startMs: nowMs, endMs, steps: 1, decoding, contextTokens, chunks };
    } else if (decoding > 0) this.#decodeFrom(nowMs, decoding, contextTokens, soonestMs);
    else this.#idleUntilMs = soonestMs;
    return false;
  }

  /** Given up while nothing was being computed. */
  #sweep(): void {
    if (!this.#running.some(({ over }) => over)) return;
    for (const sequence of this.#running) if (sequence.over) sequence.release(this.cache, this.#options.reuseGenerated);
    this.#running = this.#running.filter(({ over }) => !over);
  }

  /** Those whose whole prompt came from elsewhere have their first token with it. True: there was one. */
  #placeWhole(nowMs: number): boolean {
    let placed = false;
    for (const sequence of this.#running) {
      if (sequence.decodes || sequence.readyAtMs > nowMs || sequence.positionTokens < sequence.targetTokens) continue;
      placed = true;
      this.#prefilled(sequence, nowMs);
      if (sequence.outputTokens >= sequence.job.outputTokens) this.#finish(sequence, nowMs);
      if (sequence.over) sequence.release(this.cache, this.#options.reuseGenerated);
    }
    if (placed) this.#running = this.#running.filter(({ over }) => !over);
    return placed;
  }

  #decodeFrom(nowMs: number, decoding: number, contextTokens: number, soonestMs: number): void {
    let steps = Infinity;
    for (const sequence of this.#running) if (sequence.decodes) steps = Math.min(steps, sequence.job.outputTokens - sequence.outputTokens);
    if (soonestMs < Infinity) steps = Math.min(steps, decodeStepsFor(this.#engine, decoding, contextTokens, soonestMs - nowMs));
    // As many as the cache has room for; one it has.
    let most = steps;
    let least = this.#growthOf(steps) <= this.cache.availableBlocks ? steps : 1;
    while (least < most) {
      const middle = Math.ceil((least + most) / 2);
      if (this.#growthOf(middle) <= this.cache.availableBlocks) least = middle;
      else most = middle - 1;
    }
    this.#growDecoding(least);
    const endMs = nowMs + decodeStepsMs(this.#engine, decoding, contextTokens, least);
    this.#run = { startMs: nowMs, endMs, steps: least, decoding, contextTokens, chunks: [] };
  }

  #growthOf(steps: number): number {
    let blocks = 0;
    for (const sequence of this.#running) if (sequence.decodes) blocks += sequence.growth(steps, this.#engine.blockTokens);
    return blocks;
  }

  #growDecoding(steps: number): void {
    for (const sequence of this.#running) {
      if (!sequence.decodes) continue;
      const blocks = sequence.growth(steps, this.#engine.blockTokens);
      if (blocks > 0 && this.cache.reserve(blocks)) sequence.ownBlocks += blocks;
    }
  }

  /** The last to come go back into the queue, to be computed again, until those who decode have room. */
  #makeRoomToDecode(steps: number): void {
    while (this.#running.length > 1 && this.#growthOf(steps) > this.cache.availableBlocks) {
      const last = this.#running.pop();
      if (last === undefined) return;
      last.preempt(this.cache);
      this.preemptions++;
      this.#waiting.unshift(last);
    }
  }

  #admit(nowMs: number): boolean {
    const sequence = this.#waiting[0];
    if (sequence === undefined || this.#running.length >= this.#engine.maxSequences) return false;
    const fits = sequence.admit(this.cache, this.#tree, this.#engine, nowMs, this.#growthOf(1));
    if (!fits) return false;
    this.#waiting.shift();
    this.#running.push(sequence);
    if (sequence.loadedTokens > 0) {
      const loadMs = sequence.loadedTokens * this.#engine.loadMsPerToken;
      this.#loaderFreeAtMs = Math.max(nowMs, this.#loaderFreeAtMs) + loadMs;
      sequence.readyAtMs = this.#loaderFreeAtMs;
      sequence.loadMs = sequence.readyAtMs - nowMs;
    }
    if (sequence.startedAtMs === null) {
      sequence.startedAtMs = nowMs;
      this.#listener.started(sequence, nowMs);
    }
    return true;
  }
}
