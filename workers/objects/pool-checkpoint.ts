/** What a pool keeps of itself over the loss of its memory: who its replicas are, what they hold, and what was learnt of their pace. */
import { IndexCheckpoint, MOST_PENDING_BYTES } from "../../src/residency/checkpoint.ts";
import type { StorableIndex } from "../../src/residency/segment-index.ts";
import type { AnnounceIntake } from "../../src/router/intake.ts";
import type { PoolState } from "../../src/router/state.ts";
import { CheckpointStore, type Saved } from "./checkpoint-store.ts";

const EVERY_MS = 5_000;

export class PoolCheckpoint {
  readonly #store: CheckpointStore;
  readonly #index: IndexCheckpoint;
  readonly #state: PoolState;
  readonly #intake: AnnounceIntake;
  #savedAtMs = 0;
  #changed = false;
  /** The disk's; without room nothing is written, as a write that fails would end the object and all leases with it. */
  hasRoom = true;

  /** @param index the pool's own. */
  constructor(storage: DurableObjectStorage, index: StorableIndex, state: PoolState, intake: AnnounceIntake) {
    this.#store = new CheckpointStore(storage);
    this.#index = new IndexCheckpoint(index);
    this.#state = state;
    this.#intake = intake;
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
    const saved = this.#facts();
    this.#index.flush((rows) => this.#store.save(saved, rows));
    this.#state.counters.checkpointRows = this.#store.written.rows;
    this.#state.counters.checkpointBytes = this.#store.written.bytes;
  }

  /** Nothing when there is none. One that does not fit together is void: replicas are then asked for everything. */
  restore(nowMs: number): void {
    const loaded = this.#store.load();
    if (loaded === null) return;
    const { saved, position, pages, journal } = loaded;
    this.#state.hashSpec = saved.hashSpec;
    this.#state.createdAtSeconds = saved.createdAtSeconds;
    if (saved.rates !== undefined) this.#state.rates.restore(saved.rates);
    const fits = this.#index.load(position, pages, journal);
    this.#intake.restore(saved.membership, fits, nowMs);
  }

  #facts(): Saved {
    const { membership, hashSpec, createdAtSeconds, rates } = this.#state;
    const replicas = membership.replicas.map((replica) => ({ ...replica, seq: this.#intake.seqOf(replica.slot) }));
    return { membership: { ...membership, replicas }, hashSpec, createdAtSeconds, rates: rates.save() };
  }
}
