/**
 * All tiers below the device as one, nearest first: what the replica offers goes down in the background, what it needs comes up checked.
 * Whatever fails here costs a recomputation and a counter, never a request.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { EngineKey, KeyedBlock } from "../engine/engine.ts";
import { isFiniteKv, type KvNumbers } from "../engine/kv-numbers.ts";
import { openBlock, sealBlock, type SealedBlock } from "./block.ts";
import { LoadCost } from "./load-cost.ts";
import { freshStackCounters, type TierStackCounters } from "./stack-counters.ts";
import { TIER_BIT, type Tier, type TierName } from "./tier.ts";
import { WriteBehind } from "./write-behind.ts";

const QUEUE_BYTES = 64 * 1024 * 1024;
const READ_AT_ONCE = 4;
const MAX_REFUSED = 10_000;
/** Longest check of the blocks behind a bad one. */
const CHECK_MS = 10_000;
/** A store answers slowly but to many. */
const WRITE_AT_ONCE: Readonly<Record<TierName, number>> = { host: 1, disk: 1, store: 4 };

export interface OfferedBlock extends KeyedBlock {
  /** Key of the block before it in its chain; null for the first. */
  parent: EngineKey | null;
}

/** A block that a prompt needs. */
export interface WantedBlock {
  key: EngineKey;
  /** The prompt's own. */
  tokens: Uint32Array;
}

export interface TierStackOptions {
  /** Nearest first; any may be missing. The stack closes them. */
  tiers: readonly Tier[];
  /** Milliseconds with fractions (they time loads), on the clock of `pin`. */
  now: () => number;
  kvSpace: string;
  kvTokenBytes: number;
  kvNumbers: readonly KvNumbers[];
  /** A block came to a tier or left one: where it is now, device aside. Not called for what is there from the start: see `entries`. */
  onChange: (key: EngineKey, tierBits: number) => void;
  /** Bytes that may wait for each tier. */
  queueBytes?: number;
}

export interface TierStack {
  readonly tiers: readonly Tier[];
  readonly counters: Readonly<TierStackCounters>;
  readonly queuedBytes: number;
  /** Tier bits of a block, device aside; 0 = nowhere. */
  bitsOf(key: EngineKey): number;
  /** Every block and where it is: what to announce after a restart. */
  entries(): Generator<[key: EngineKey, tierBits: number]>;
  /** Takes blocks for all tiers, off the caller's path; the data must not change afterwards. Parents before children. */
  offer(blocks: readonly OfferedBlock[]): void;
  /** The longest leading run of `wanted` that could be read and checked, from the nearest tier each. Never rejects; an abort shortens it. */
  load(wanted: readonly WantedBlock[], signal: AbortSignal): Promise<KeyedBlock[]>;
  /** When the blocks behind one that was not what it should be are looked at too: whoever wrote one wrong may have written them all. */
  checked(): Promise<void>;
  /** In every tier that has them. */
  pin(keys: readonly EngineKey[], untilMs: number): void;
  loadMsPerToken(tier: TierName): number;
  /** How long the engine took to take in loaded tokens: part of what a load costs. */
  learnRestore(tokens: number, elapsedMs: number): void;
  /** Whether `tokens` that rest in all tiers of `bits` come sooner from there than from prefill. */
  worthLoading(tokens: number, bits: number, prefillMsPerToken: number): boolean;
  /** When all that was offered is written or refused. */
  idle(): Promise<void>;
  /** Writes what waits, then closes the tiers. Takes nothing more. */
  close(): Promise<void>;
}

export function createTierStack(options: TierStackOptions): TierStack {
  return new Stack(options);
}

interface TierQueue {
  tier: Tier;
  queue: WriteBehind<SealedBlock>;
  /** What it did not take, lately. */
  refused: Set<EngineKey>;
}

interface Load {
  block: KeyedBlock;
  tier: TierName;
  elapsedMs: number;
}

class Stack implements TierStack {
  readonly counters: TierStackCounters = freshStackCounters();
  readonly #options: TierStackOptions;
  readonly #cost: LoadCost;
  readonly #intake: WriteBehind<OfferedBlock>;
  /** Keys in the intake. */
  readonly #taken = new Set<EngineKey>();
  readonly #queues: TierQueue[];
  #closed = false;
  #checking: Promise<unknown> = Promise.resolve();

  constructor(options: TierStackOptions) {
    this.#options = options;
    this.#cost = new LoadCost(options);
    const limitBytes = options.queueBytes ?? QUEUE_BYTES;
    this.#intake = new WriteBehind<OfferedBlock>({ limitBytes, parallel: 1, write: (block) => this.#seal(block) });
    this.#queues = options.tiers.map((tier) => {
      tier.onChange((key) => options.onChange(key, this.bitsOf(key)));
      const refused = new Set<EngineKey>();
      const write = (block: SealedBlock): Promise<void> => this.#write(tier, refused, block);
      return { tier, refused, queue: new WriteBehind({ limitBytes, parallel: WRITE_AT_ONCE[tier.name], write }) };
    });
  }

  get tiers(): readonly Tier[] {
    return this.#options.tiers;
  }

  get queuedBytes(): number {
    return this.#queues.reduce((sum, { queue }) => sum + queue.bytes, this.#intake.bytes);
  }

  bitsOf(key: EngineKey): number {
    let bits = 0;
    for (const tier of this.tiers) if (tier.has(key)) bits |= TIER_BIT[tier.name];
    return bits;
  }

  *entries(): Generator<[key: EngineKey, tierBits: number]> {
    for (const [index, tier] of this.tiers.entries()) {
      for (const key of tier.keys()) if (!this.tiers.slice(0, index).some((nearer) => nearer.has(key))) yield [key, this.bitsOf(key)];
    }
  }

  offer(blocks: readonly OfferedBlock[]): void {
    if (this.#closed) return;
    for (const block of blocks) {
      if (this.#taken.has(block.key) || this.tiers.every((tier) => tier.has(block.key))) continue;
      this.#taken.add(block.key);
      if (this.#intake.push(block, block.data.length)) this.counters.offered++;
      else {
        this.#taken.delete(block.key);
        this.counters.dropped++;
      }
    }
  }

  async #seal(block: OfferedBlock): Promise<void> {
    // The checksum of a large block takes milliseconds: let streams go first.
    await nextTurn();
    try {
      const { data, tokens } = block;
      if (!isFiniteKv(data, tokens.length, this.#options.kvNumbers)) throw new RangeError("a number is not finite");
      this.#spread(sealBlock(block, { ...this.#options, parent: block.parent }), "all");
    } catch {
      this.counters.invalid++;
    } finally {
      this.#taken.delete(block.key);
    }
  }

  #spread(sealed: SealedBlock, where: "all" | "host"): void {
    for (const { tier, refused, queue } of this.#queues) {
      if (tier.has(sealed.key) || (where === "host" && tier.name !== "host")) continue;
      if (queue.push(sealed, sealed.bytes.length)) continue;
      this.counters.dropped++;
      refused.add(sealed.key);
    }
  }

  /** The rest of a chain too long for a tier would only drive out its beginning. */
  async #write(tier: Tier, refused: Set<EngineKey>, block: SealedBlock): Promise<void> {
    const { key, parent } = block;
    if (refused.size > MAX_REFUSED) refused.clear();
    const orphan = parent !== null && refused.has(parent) && !tier.has(parent);
    if (orphan) this.counters.orphaned++;
    if (orphan || (await tier.put(block)) === "refused") refused.add(key);
    else refused.delete(key);
  }

  async load(wanted: readonly WantedBlock[], signal: AbortSignal): Promise<KeyedBlock[]> {
    const startedAtMs = this.#options.now();
    const loads: (Load | null)[] = [];
    let end = wanted.findIndex(({ key }) => this.bitsOf(key) === 0);
    if (end < 0) end = wanted.length;
    let next = 0;
    const faults = new Set<EngineKey>();
    const readOn = async (): Promise<void> => {
      while (next < end && !signal.aborted) {
        const index = next++;
        const block = wanted[index];
        const load = block === undefined ? null : await this.#loadOne(block, signal, faults);
        loads[index] = load;
        if (load === null) end = Math.min(end, index);
      }
    };
    await Promise.all(Array.from({ length: READ_AT_ONCE }, readOn));
    if (faults.size > 0) this.#checking = Promise.all([this.#checking, this.#check(wanted.slice(next))]);
    this.#learn(loads, this.#options.now() - startedAtMs);
    const blocks: KeyedBlock[] = [];
    for (const load of loads) {
      if (load === null || load === undefined) break;
      blocks.push(load.block);
      this.counters.loadedTokens += load.block.tokens.length;
    }
    this.counters.loadedBlocks += blocks.length;
    return blocks;
  }

  /** Reads overlap, so each tier is charged its share of the time that passed. */
  #learn(loads: readonly (Load | null | undefined)[], elapsedMs: number): void {
    const done = loads.filter((load) => load !== null && load !== undefined);
    const total = done.reduce((sum, load) => sum + load.elapsedMs, 0);
    for (const tier of new Set(done.map((load) => load.tier))) {
      const own = done.filter((load) => load.tier === tier);
      const tokens = own.reduce((sum, load) => sum + load.block.tokens.length, 0);
      const share = total > 0 ? own.reduce((sum, load) => sum + load.elapsedMs, 0) / total : 1;
      this.#cost.learn(tier, tokens, elapsedMs * share);
    }
  }

  async #check(wanted: readonly WantedBlock[]): Promise<void> {
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), CHECK_MS);
    for (const block of wanted) if (!stop.signal.aborted && !this.#closed) await this.#loadOne(block, stop.signal, new Set());
    clearTimeout(timer);
  }

  /** `faults`: where a key is noted of which a tier had something else, or nothing, though it was said to be there. */
  async #loadOne({ key, tokens }: WantedBlock, signal: AbortSignal, faults: Set<EngineKey>): Promise<Load | null> {
    const { now, kvSpace, kvTokenBytes, kvNumbers } = this.#options;
    for (const tier of this.tiers) {
      if (signal.aborted) return null;
      if (!tier.has(key)) continue;
      const startedAtMs = now();
      let block: KeyedBlock | null = null;
      const sealed = await tier.get(key, signal, (bytes) => {
        const opened = openBlock(bytes, { key, tokens, kvSpace, kvTokenBytes, kvNumbers });
        if (!opened.ok) {
          faults.add(key);
          return opened.why;
        }
        block = opened.block;
        return null;
      });
      const elapsedMs = now() - startedAtMs;
      if (signal.aborted) {
        // The wait was given up, perhaps because it was too long: what it took until then is the least that the tier would have.
        if (elapsedMs / tokens.length > this.#cost.loadMsPerToken(tier.name)) this.#cost.learn(tier.name, tokens.length, elapsedMs);
        return null;
      }
      if (sealed === null || block === null) {
        this.#cost.learn(tier.name, tokens.length, elapsedMs);
        // One that had something else, or nothing, under that name has forgotten it; a tier that is down has not.
        if (!tier.has(key)) faults.add(key);
        continue;
      }
      if (tier.name !== "host") this.#spread(sealed, "host");
      await nextTurn();
      return { block, tier: tier.name, elapsedMs };
    }
    return null;
  }

  async checked(): Promise<void> {
    await this.#checking;
  }

  pin(keys: readonly EngineKey[], untilMs: number): void {
    for (const tier of this.tiers) for (const key of keys) tier.pin(key, untilMs);
  }

  loadMsPerToken(tier: TierName): number {
    return this.#cost.loadMsPerToken(tier);
  }

  learnRestore(tokens: number, elapsedMs: number): void {
    this.#cost.learn("engine", tokens, elapsedMs);
  }

  worthLoading(tokens: number, bits: number, prefillMsPerToken: number): boolean {
    return this.#cost.worthLoading(tokens, bits, prefillMsPerToken);
  }

  async idle(): Promise<void> {
    await this.#intake.idle();
    await Promise.all(this.#queues.map(({ queue }) => queue.idle()));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.idle();
    await Promise.all(this.tiers.map((tier) => tier.close()));
  }
}
