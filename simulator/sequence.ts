import type { BlockCache } from "./block-cache.ts";
import type { EngineConstants } from "./constants.ts";
import { type PlannedRequest, reusableTokens, type SegmentTree } from "./plan.ts";

/** One request as an engine is given it. */
export interface Job {
  /** Of the attempt; unique among those alive. */
  key: string;
  request: PlannedRequest;
  /** 1: a prefill for another replica, over with its first token. */
  outputTokens: number;
  /** Leading tokens that came from another replica, ready to be put in place; the whole prompt: with its first token. */
  externalTokens: number;
  /** False: what lies in host memory is computed, not loaded. */
  loads: boolean;
}

/** A request in an engine, from its coming to its end. */
export class Sequence {
  readonly job: Job;
  readonly submittedAtMs: number;
  startedAtMs: number | null = null;
  firstTokenAtMs: number | null = null;
  /** Its KV comes from host memory until then. */
  readyAtMs = 0;
  /** In place: found, loaded, fetched or computed. */
  positionTokens = 0;
  /** To be in place before it decodes: the prompt, after a preemption also what it had written. */
  targetTokens: number;
  outputTokens = 0;
  decodes = false;
  over = false;
  /** Blocks of its own, in no segment. */
  ownBlocks = 0;
  /** Not computed for its first token. */
  cachedTokens = 0;
  loadedTokens = 0;
  loadMs = 0;
  /** Leading segments it uses: found ready, or claimed. */
  #used = 0;
  /** Leading segments that are ready. */
  #ready = 0;
  #totalBlocks = 0;

  constructor(job: Job, nowMs: number) {
    this.job = job;
    this.submittedAtMs = nowMs;
    this.targetTokens = job.request.promptTokens;
  }

  get contextTokens(): number {
    return this.job.request.promptTokens + this.outputTokens;
  }

  /** Blocks that this many more tokens need. */
  growth(steps: number, blockTokens: number): number {
    return Math.max(0, Math.ceil((this.contextTokens + steps) / blockTokens) - this.#totalBlocks - this.ownGrowth);
  }

  /** Of its blocks, those that came while it decoded. */
  get ownGrowth(): number {
    return this.ownBlocks - this.#ownAtStart;
  }

  #ownAtStart = 0;

  /** Takes all the room its prompt needs, beside `spareBlocks` for those who decode. False: there is too little room now, and nothing changed. */
  admit(cache: BlockCache, tree: SegmentTree, engine: EngineConstants, nowMs: number, spareBlocks: number): boolean {
    const { path, promptSegments } = this.job.request;
    const { blockTokens } = engine;
    const onDevice = cache.onDevice(path, promptSegments);
    const loads = this.job.loads && engine.loadMsPerToken < engine.prefillMsPerToken;
    const held = loads ? cache.onHost(path, onDevice, promptSegments) : onDevice;
    for (let at = 0; at < onDevice; at++) cache.use(path[at] ?? 0);
    let shared = 0;
    for (let at = 0; at < onDevice; at++) shared += cache.blocksOf(path[at] ?? 0);
    const total = Math.ceil((this.targetTokens + 1) / blockTokens);
    if (total - shared + spareBlocks > cache.availableBlocks || !cache.reserve(total - shared)) {
      for (let at = onDevice - 1; at >= 0; at--) cache.drop(path[at] ?? 0);
      return false;
    }
    let claimed = 0;
    let used = onDevice;
    while (used < promptSegments && cache.isAbsent(path[used] ?? 0)) {
      cache.claim(path[used] ?? 0);
      claimed += cache.blocksOf(path[used] ?? 0);
      used++;
    }
    this.#used = used;
    this.#ready = onDevice;
    this.#totalBlocks = total;
    this.ownBlocks = total - shared - claimed;
    this.#ownAtStart = this.ownBlocks;
    this.#place(tree, blockTokens, onDevice, Math.min(held, used));
    this.readyAtMs = nowMs;
    this.markReady(cache, 0);
    return true;
  }

  #place(tree: SegmentTree, blockTokens: number, onDevice: number, held: number): void {
    const { request, externalTokens } = this.job;
    const endOf = (segments: number): number => (segments === 0 ? 0 : (tree.ends[request.path[segments - 1] ?? 0] ?? 0));
    const deviceTokens = reusableTokens(endOf(onDevice), this.targetTokens, blockTokens);
    const heldTokens = reusableTokens(endOf(held), this.targetTokens, blockTokens);
    const fetchedTokens = this.firstTokenAtMs === null ? externalTokens : 0;
    this.loadedTokens = Math.max(0, heldTokens - Math.max(deviceTokens, fetchedTokens));
    this.positionTokens = Math.max(heldTokens, fetchedTokens);
    if (this.firstTokenAtMs === null) this.cachedTokens = this.positionTokens;
  }

  /**
   * Segments whose last block is in place when `tokens` more are computed can be found by others: in the same step already, as a step writes each layer's
   * KV before anyone in it reads that layer.
   */
  markReady(cache: BlockCache, tokens: number): void {
    const { path } = this.job.request;
    while (this.#ready < this.#used && cache.wholeEnd(path[this.#ready] ?? 0) <= this.positionTokens + tokens) {
      cache.markReady(path[this.#ready] ?? 0);
      this.#ready++;
    }
  }

  preempt(cache: BlockCache): void {
    this.targetTokens = this.contextTokens;
    this.#letGo(cache, this.#used);
    this.decodes = false;
    this.positionTokens = 0;
  }

  /** It is over. `keepsAnswer`: what it wrote stays where later requests will have it. */
  release(cache: BlockCache, keepsAnswer: boolean): void {
    const { path, promptSegments } = this.job.request;
    const inPlace = this.decodes ? this.contextTokens - 1 : this.positionTokens;
    let used = this.#used;
    const most = keepsAnswer ? path.length : promptSegments;
    // From blocks of its own to segments, as long as there is no gap.
    while (used < most && this.#ready >= used && cache.wholeEnd(path[used] ?? 0) <= inPlace) {
      const segment = path[used] ?? 0;
      if (cache.isReady(segment)) cache.use(segment);
      else {
        const blocks = cache.blocksOf(segment);
        if (!cache.isAbsent(segment) || blocks > this.ownBlocks) break;
        this.ownBlocks -= blocks;
        cache.claim(segment);
        cache.markReady(segment);
      }
      used++;
      this.#ready = used;
    }
    this.#letGo(cache, used);
  }

  #letGo(cache: BlockCache, used: number): void {
    const { path } = this.job.request;
    for (let at = used - 1; at >= 0; at--) cache.drop(path[at] ?? 0);
    cache.giveBack(this.ownBlocks);
    this.#used = 0;
    this.#ready = 0;
    this.ownBlocks = 0;
    this.#ownAtStart = 0;
    this.#totalBlocks = 0;
  }
}
