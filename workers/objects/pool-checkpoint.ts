/** What a pool keeps of itself over the loss of its memory: who its replicas are and what they hold. */
import type { AnnounceIntake } from "../../src/routing/announce-intake.ts";
import type { PoolState } from "../../src/routing/pool-state.ts";
import type { PoolStore } from "./pool-store.ts";

export function saveCheckpoint(store: PoolStore, state: PoolState, intake: AnnounceIntake): void {
  const { membership, hashSpec, createdAtSeconds, index } = state;
  const replicas = membership.replicas.map((replica) => ({ ...replica, seq: intake.seqOf(replica.slot) }));
  store.saveCheckpoint({ membership: { ...membership, replicas }, hashSpec, createdAtSeconds }, index.checkpoint(), index.partIds());
  index.clean();
}

/** Nothing when there is none. One that does not fit together is void: replicas are then asked for everything. */
export function restoreCheckpoint(store: PoolStore, state: PoolState, intake: AnnounceIntake, nowMs: number): void {
  const loaded = store.load();
  if (loaded === null) return;
  const { saved, directory, parts } = loaded;
  state.hashSpec = saved.hashSpec;
  state.createdAtSeconds = saved.createdAtSeconds;
  const fits = state.index.load(directory, parts);
  intake.restore(saved.membership, fits, nowMs);
}
