/**
 * A place for blocks outside the engine. Blocks rest as sealed bytes (block.ts), so that what comes back is checked before an engine
 * sees it. Every tier passes one conformance suite (test/conformance/tier.ts).
 */
import type { EngineKey } from "../engine/engine.ts";

export type TierName = "host" | "disk" | "store";

/** Bits as they are announced: device is 1. */
export const TIER_BIT: Readonly<Record<TierName, number>> = { host: 2, disk: 4, store: 8 };

export interface SealedBlock {
  key: EngineKey;
  /** Key of the block before it in its chain; null for the first. Children leave before their parents. */
  parent: EngineKey | null;
  /** block.ts's envelope. */
  bytes: Uint8Array;
}

export type PutOutcome = "stored" | "present" | "refused";

export interface Tier {
  readonly name: TierName;
  /** Synchronous and exact: what `get` would find, damage aside. */
  has(key: EngineKey): boolean;
  /** Null when it is not there, or can't be read: then it is forgotten too. */
  get(key: EngineKey, signal?: AbortSignal): Promise<SealedBlock | null>;
  /** Makes room by evicting the least recently used, leaves first, never pinned ones. "refused": no room, disk full, store down. Never rejects. */
  put(block: SealedBlock): Promise<PutOutcome>;
  /** Kept until then, as far as the budget allows; a later time replaces an earlier one. False when it is not there. */
  pin(key: EngineKey, untilMs: number): boolean;
  forget(key: EngineKey): Promise<void>;
  /** A block came or went. One listener. */
  onChange(listener: (key: EngineKey, held: boolean) => void): void;
  keys(): Iterable<EngineKey>;
  readonly usedBytes: number;
  readonly budgetBytes: number;
  /** Since the start: for metrics. */
  readonly counters: Readonly<TierCounters>;
  close(): Promise<void>;
}

export interface TierCounters {
  hits: number;
  misses: number;
  evicted: number;
  refused: number;
  damaged: number;
  errors: number;
}

export function freshCounters(): TierCounters {
  return { hits: 0, misses: 0, evicted: 0, refused: 0, damaged: 0, errors: 0 };
}
