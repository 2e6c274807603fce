/** What a pool keeps of itself over the loss of its memory: who its replicas are, what they hold, and what was learnt of their pace. */
import { IndexCheckpoint, MOST_PENDING_BYTES } from "../../src/residency/checkpoint.ts";
import type { StorableIndex } from "../../src/residency/segment-index.ts";
import type { AnnounceIntake } from "../../src/routing/announce-intake.ts";
import type { PoolState } from "../../src/routing/pool-state.ts";
import { CheckpointStore, type Saved } from "./checkpoint-store.ts";

export class PoolCheckpoint {
  readonly #store: CheckpointStore;
  readonly #index: IndexCheckpoint;
  readonly #state: PoolState;
  readonly #intake: AnnounceIntake;

  /** @param index the pool's own. */
  constructor(storage: DurableObjectStorage, index: StorableIndex, state: PoolState, intake: AnnounceIntake) {
    this.#store = new CheckpointStore(storage);
    this.#index = new IndexCheckpoint(index);
    this.#state = state;
    this.#intake = intake;
  }

  /** So much has changed that the next one should not wait, lest it take long. */
  get isLarge(): boolean {
    return this.#index.pendingBytes >= MOST_PENDING_BYTES;
  }

  save(): void {
    const saved = this.#facts();
    this.#index.flush((rows) => this.#store.save(saved, rows));
    this.#state.counters.checkpointRows = this.#store.written.rows;
    this.#state.counters.checkpointBytes = this.#store.written.bytes;
  }

  /** For as long as nothing can be written; what waits stays within a bound. */
  wait(): void {
    this.#index.condense();
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
