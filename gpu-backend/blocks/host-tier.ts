/** Blocks in this process's memory. */
import type { EngineKey } from "../engine/engine.ts";
import { Residents } from "./residents.ts";
import type { SealedBlock } from "./block.ts";
import { freshCounters, type Inspect, type PutOutcome, type Tier } from "./tier.ts";

interface HostTierOptions {
  budgetBytes: number;
  /** Milliseconds, the clock of `pin`. */
  now: () => number;
}

export class HostTier implements Tier {
  readonly name = "host";
  readonly budgetBytes: number;
  readonly counters = freshCounters();
  readonly #blocks = new Map<EngineKey, SealedBlock>();
  readonly #residents: Residents;
  #changed: (key: EngineKey, held: boolean) => void = () => {};

  constructor(options: HostTierOptions) {
    this.budgetBytes = options.budgetBytes;
    this.#residents = new Residents(options);
  }

  get usedBytes(): number {
    return this.#residents.usedBytes;
  }

  get pinnedBytes(): number {
    return this.#residents.pinnedBytes;
  }

  has(key: EngineKey): boolean {
    return this.#blocks.has(key);
  }

  keys(): Iterable<EngineKey> {
    return this.#blocks.keys();
  }

  onChange(listener: (key: EngineKey, held: boolean) => void): void {
    this.#changed = listener;
  }

  get(key: EngineKey, _signal?: AbortSignal, inspect?: Inspect): Promise<SealedBlock | null> {
    const block = this.#blocks.get(key) ?? null;
    const fault = block === null ? null : (inspect?.(block.bytes) ?? null);
    if (fault !== null) {
      this.counters.damaged[fault]++;
      this.#remove(key);
    }
    const found = fault === null ? block : null;
    this.counters[found === null ? "misses" : "hits"]++;
    this.#residents.use(key);
    return Promise.resolve(found);
  }

  put(block: SealedBlock): Promise<PutOutcome> {
    return Promise.resolve(this.#put(block));
  }

  #put(block: SealedBlock): PutOutcome {
    if (this.#blocks.has(block.key)) {
      this.#residents.use(block.key);
      return "present";
    }
    if (!this.#makeRoom(block)) {
      this.counters.refused++;
      return "refused";
    }
    this.#blocks.set(block.key, block);
    this.#residents.add({ key: block.key, parent: block.parent, bytes: block.bytes.length });
    this.#changed(block.key, true);
    return "stored";
  }

  /** The block's own parent must not make room for it. */
  #makeRoom(block: SealedBlock): boolean {
    const limit = this.budgetBytes - block.bytes.length;
    if (limit < 0) return false;
    if (block.parent !== null) this.#residents.expect(block.parent);
    while (this.#residents.usedBytes > limit) {
      const victim = this.#residents.victim();
      if (victim === null) break;
      this.#remove(victim);
      this.counters.evicted++;
    }
    if (block.parent !== null) this.#residents.unexpect(block.parent);
    return this.#residents.usedBytes <= limit;
  }

  pin(key: EngineKey, untilMs: number): boolean {
    return this.#residents.pin(key, untilMs);
  }

  forget(key: EngineKey): Promise<void> {
    this.#remove(key);
    return Promise.resolve();
  }

  #remove(key: EngineKey): void {
    if (!this.#blocks.delete(key)) return;
    this.#residents.remove(key);
    this.#changed(key, false);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
