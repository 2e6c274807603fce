/** What a pool keeps of itself over the loss of its memory: who its replicas are, what they hold, and what was learnt of their pace. */
import { IndexCheckpoint, MOST_PENDING_BYTES } from "../../src/residency/checkpoint.ts";
import type { StorableIndex } from "../../src/residency/segment-index.ts";
import type { Pool } from "../../src/router/pool.ts";
import { CheckpointStore } from "./checkpoint-store.ts";

const EVERY_MS = 5_000;

export class PoolCheckpoint {
  readonly #store: CheckpointStore;
  readonly #index: IndexCheckpoint;
  readonly #pool: Pool;
  #savedAtMs = 0;
  #changed = false;
  /** The disk's; without room nothing is written, as a write that fails would end the object and all leases with it. */
  hasRoom = true;

  /** @param index the pool's own. */
  constructor(storage: DurableObjectStorage, index: StorableIndex, pool: Pool) {
    this.#store = new CheckpointStore(storage);
    this.#index = new IndexCheckpoint(index);
    this.#pool = pool;
  }

  /** Something changed that is not saved yet. */
  get hasChanges(): boolean {
    return this.#changed;
  }

  /** There is something to save; `atOnce`: with the next tick. */
  changed(atOnce = false): void {
    this.#changed = true;
    if (atOnce) this.#savedAtMs = 0;
  }

  /** Every 5 s, where anything changed. */
  tick(nowMs: number): void {
    if (nowMs - this.#savedAtMs >= EVERY_MS) this.#save(nowMs);
  }

  /** Where so much has changed that the next one should not wait, lest it take long. */
  saveLarge(nowMs: number): void {
    if (this.#index.pendingBytes >= MOST_PENDING_BYTES) this.#save(nowMs);
  }

  #save(nowMs: number): void {
    // What waits for room stays within a bound.
    if (!this.hasRoom) return this.#index.condense();
    this.#savedAtMs = nowMs;
    if (!this.#changed) return;
    this.#changed = false;
    const saved = this.#pool.save();
    this.#index.flush((rows) => this.#store.save(saved, rows));
    this.#pool.checkpointed(this.#store.written);
  }

  /** Nothing when there is none. One that does not fit together is void: replicas are then asked for everything. */
  restore(nowMs: number): void {
    const loaded = this.#store.load();
    if (loaded === null) return;
    const { saved, position, pages, journal } = loaded;
    this.#pool.restore(saved, this.#index.load(position, pages, journal), nowMs);
  }
}
