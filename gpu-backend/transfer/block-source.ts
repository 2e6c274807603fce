/** What a sender gives besides its engine's blocks. */
import type { WantedBlock } from "../blocks/tier-stack.ts";
import type { EngineKey, KeyedBlock, Prefilled, PreparedKv, Restore } from "../engine/engine.ts";

/** What this replica has below the device. */
export interface BlockSource {
  /** The leading ones that are there, whole and checked. */
  load(wanted: readonly WantedBlock[], signal: AbortSignal): Promise<KeyedBlock[]>;
  /** Of a prompt that is to be computed here, the blocks that come sooner from there. */
  restoreOf(prepared: PreparedKv, signal: AbortSignal): Promise<Restore | undefined>;
  /** A prompt was computed here: its blocks rest there too from now on. */
  keep(prepared: PreparedKv, prefilled: Prefilled, restore: Restore | undefined): void;
  /** Keeps what is there from eviction; the function lets it go before that time. */
  pin(keys: readonly EngineKey[], untilMs: number): () => void;
}
