/** What a sender does at once, and how long it waits for a receiver. */
import type { StreamTimes } from "./frame-stream.ts";

export interface SenderLimits extends StreamTimes {
  prefills: number;
  pulls: number;
  /** Asks that are read at once. */
  asks: number;
  /** When all of a kind are under way, one whose receiver has taken nothing for so long makes room. */
  yieldMs: number;
  /** All of a ticket's bytes must be gone within this, and what they need at `leastBytesPerMs`. */
  giveMs: number;
  leastBytesPerMs: number;
  /** For what was computed and not fetched whole. */
  promisedBytes: number;
  /** Read from device or tiers at once when blocks are pulled. */
  batchBytes: number;
}

export const SENDER_LIMITS: SenderLimits = {
  prefills: 4,
  pulls: 4,
  asks: 32,
  yieldMs: 500,
  giveMs: 10_000,
  leastBytesPerMs: 10_000,
  promisedBytes: 256 * 1024 * 1024,
  batchBytes: 64 * 1024 * 1024,
  pulseMs: 500,
  drainMs: 10_000,
};
