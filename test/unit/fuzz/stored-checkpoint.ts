/** A pool's checkpoint in memory, as workers/objects/pool-checkpoint.ts keeps it in rows. */
import type { MembershipState } from "../../../src/pool/membership.ts";
import { type CheckpointPosition, IndexCheckpoint } from "../../../src/residency/checkpoint.ts";
import type { StorableIndex } from "../../../src/residency/segment-index.ts";
import type { AnnounceIntake } from "../../../src/router/intake.ts";
import type { PoolState } from "../../../src/router/state.ts";
import type { SavedRates } from "../../../src/rates/rate-book.ts";

interface Saved {
  membership: MembershipState;
  position: CheckpointPosition;
  rates: SavedRates;
}

export class StoredCheckpoint {
  #index: IndexCheckpoint;
  #saved: Saved | null = null;
  readonly #journal = new Map<number, Uint8Array>();
  readonly #pages = new Map<number, Uint8Array>();

  /** @param index the pool's own. */
  constructor(index: StorableIndex) {
    this.#index = new IndexCheckpoint(index);
  }

  save({ membership, rates }: PoolState, intake: AnnounceIntake): void {
    const replicas = membership.replicas.map((replica) => ({ ...replica, seq: intake.seqOf(replica.slot) }));
    this.#index.flush(({ journal, pages, position, oldest }) => {
      for (const { number, data } of journal) this.#journal.set(number, data);
      for (const { page, data } of pages) this.#pages.set(page, data);
      for (const number of this.#journal.keys()) if (number < oldest) this.#journal.delete(number);
      this.#saved = structuredClone({ membership: { ...membership, replicas }, position, rates: rates.save() });
    });
  }

  /** Into what has nothing yet. */
  restore(index: StorableIndex, state: PoolState, intake: AnnounceIntake, nowMs: number): void {
    this.#index = new IndexCheckpoint(index);
    if (this.#saved === null) return;
    const { membership, position, rates } = structuredClone(this.#saved);
    state.rates.restore(rates);
    const oldest = Math.min(...position.stamps) + 1;
    const pages = Array.from(this.#pages, ([page, data]) => ({ page, data }));
    const journal = Array.from(this.#journal, ([number, data]) => ({ number, data }))
      .filter(({ number }) => number >= oldest)
      .toSorted((left, right) => left.number - right.number);
    intake.restore(membership, this.#index.load(position, pages, journal), nowMs);
  }
}
