/** A pool's checkpoint in memory, as workers/objects/pool-checkpoint.ts keeps it in rows. */
import type { MembershipState } from "../../../src/pool/membership.ts";
import type { AnnounceIntake } from "../../../src/routing/announce-intake.ts";
import type { PoolState } from "../../../src/routing/pool-state.ts";

interface Saved {
  membership: MembershipState;
  directory: string;
}

export class StoredCheckpoint {
  #saved: Saved | null = null;
  readonly #parts = new Map<number, Uint8Array>();

  save({ membership, index }: PoolState, intake: AnnounceIntake): void {
    const replicas = membership.replicas.map((replica) => ({ ...replica, seq: intake.seqOf(replica.slot) }));
    const { directory, parts } = index.checkpoint();
    for (const { id, data } of parts) this.#parts.set(id, data);
    index.clean();
    this.#saved = { membership: structuredClone({ ...membership, replicas }), directory };
  }

  /** Into what has nothing yet. */
  restore({ index }: PoolState, intake: AnnounceIntake, nowMs: number): void {
    if (this.#saved === null) return;
    const parts = Array.from(this.#parts, ([id, data]) => ({ id, data }));
    intake.restore(this.#saved.membership, index.load(this.#saved.directory, parts), nowMs);
  }
}
