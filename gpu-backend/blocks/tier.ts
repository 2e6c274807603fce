/**
 * A place for blocks outside the engine. Blocks rest as sealed bytes (block.ts), so that what comes back is checked before an engine
 * sees it. Every tier passes one conformance suite (test/conformance/tier.ts).
 */
import type { EngineKey } from "../engine/engine.ts";
import { BLOCK_FAULTS, type BlockFault, type SealedBlock } from "./block.ts";
import { TIER } from "../../src/residency/tiers.ts";

export type TierName = "host" | "disk" | "store";

/** Bits as they are announced. */
export const TIER_BIT: Readonly<Record<TierName, number>> = TIER;

export type PutOutcome = "stored" | "present" | "refused";

/** What is wrong with bytes that were read; null: nothing. */
export type Inspect = (bytes: Uint8Array) => BlockFault | null;

export interface Tier {
  readonly name: TierName;
  /** Synchronous and exact: what `get` would find, damage aside. */
  has(key: EngineKey): boolean;
  /**
   * Null when it is not there or can't be read, or when `inspect` finds a fault: then it is forgotten, and counted by its fault. An abort ends the wait and blames nobody.
   * `inspect` is asked about bytes whose header is this key's.
   */
  get(key: EngineKey, signal?: AbortSignal, inspect?: Inspect): Promise<SealedBlock | null>;
  /**
   * Makes room by evicting the least recently used, leaves first, never pinned ones; a medium that is full before the budget is used counts as a smaller budget for a while.
   * "refused": no room, or the medium fails. Never rejects.
   */
  put(block: SealedBlock): Promise<PutOutcome>;
  /** Kept until then; another time replaces the one before. False when it is not there, or when pins would take more than PINNED_SHARE of the budget. */
  pin(key: EngineKey, untilMs: number): boolean;
  readonly pinnedBytes: number;
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

/** Of a tier's budget, all pins together: the rest stays everybody's. */
export const PINNED_SHARE = 0.5;

export interface TierCounters {
  hits: number;
  misses: number;
  evicted: number;
  refused: number;
  errors: number;
  /** Writes that found the medium full. */
  full: number;
  /** Blocks that were there and not what they should be, by what was wrong. */
  damaged: Record<BlockFault, number>;
}

export function freshCounters(): TierCounters {
  const damaged = Object.fromEntries(BLOCK_FAULTS.map((fault) => [fault, 0])) as Record<BlockFault, number>;
  return { hits: 0, misses: 0, evicted: 0, refused: 0, errors: 0, full: 0, damaged };
}

export function damagedIn({ damaged }: TierCounters): number {
  return Object.values(damaged).reduce((sum, count) => sum + count, 0);
}
