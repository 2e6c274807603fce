/** A pool's checkpoint in memory, as workers/objects/pool-checkpoint.ts keeps it in rows. */
import { type CheckpointPosition, IndexCheckpoint } from "../../../src/residency/checkpoint.ts";
import type { StorableIndex } from "../../../src/residency/segment-index.ts";
import type { Pool, SavedPool } from "../../../src/router/pool.ts";

interface Saved {
  saved: SavedPool;
  position: CheckpointPosition;
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

  save(pool: Pool): void {
    this.#index.flush(({ journal, pages, position, oldest }) => {
      for (const { number, data } of journal) this.#journal.set(number, data);
      for (const { page, data } of pages) this.#pages.set(page, data);
      for (const number of this.#journal.keys()) if (number < oldest) this.#journal.delete(number);
      this.#saved = structuredClone({ saved: pool.save(), position });
    });
  }

  /** Into what has nothing yet. */
  restore(index: StorableIndex, pool: Pool, nowMs: number): void {
    this.#index = new IndexCheckpoint(index);
    if (this.#saved === null) return;
    const { saved, position } = structuredClone(this.#saved);
    const oldest = Math.min(...position.stamps) + 1;
    const pages = Array.from(this.#pages, ([page, data]) => ({ page, data }));
    const journal = Array.from(this.#journal, ([number, data]) => ({ number, data }))
      .filter(({ number }) => number >= oldest)
      .toSorted((left, right) => left.number - right.number);
    pool.restore(saved, this.#index.load(position, pages, journal), nowMs);
  }
}
