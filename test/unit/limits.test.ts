import { describe, expect, it } from "vitest";
import * as exported from "../../src/limits.ts";

const limits = { ...exported };

/** Each pair: what is over sooner, and what must last longer. */
const ORDER: [keyof typeof limits, keyof typeof limits][] = [
  // Two heartbeats may be lost.
  ["HEARTBEAT_MS", "SUSPECT_AFTER_MS"],
  ["SUSPECT_AFTER_MS", "EXPIRED_AFTER_MS"],
  // A call that has ended is made again before its place is given up.
  ["HOLD_MS", "CLAIM_LIVES_MS"],
  ["CLAIM_LIVES_MS", "MOST_WAIT_MS"],
  // Whoever is refused by silence was not accepted meanwhile, and its lease is still there to be released.
  ["ACCEPTED_WITHIN_MS", "HEADERS_TIMEOUT_MS"],
  ["HEADERS_TIMEOUT_MS", "RESERVED_LIVES_MS"],
  // A body of 8 MiB may take four seconds more.
  ["RESERVED_LIVES_MS", "ADMISSION_LIVES_MS"],
  ["HEADERS_TIMEOUT_MS", "ADMISSION_LIVES_MS"],
  ["KEEP_ALIVE_MS", "SILENCE_MS"],
  ["FORGOTTEN_AFTER_CLOSE_MS", "LINE_LEAVES_MS"],
];

describe("times that processes share", () => {
  it.each(ORDER)("%s is over before %s, by at least a tick of the pool", (sooner, later) => {
    expect(limits[sooner] + limits.POOL_TICK_MS).toBeLessThanOrEqual(limits[later]);
  });

  it("leave room for two lost heartbeats before a replica is suspect, and two lost signs of life before it is silent", () => {
    expect(limits.SUSPECT_AFTER_MS).toBeGreaterThanOrEqual(3 * limits.HEARTBEAT_MS);
    expect(limits.SILENCE_MS).toBeGreaterThanOrEqual(3 * limits.KEEP_ALIVE_MS);
  });

  it("are what docs/protocol.md and its clients rest on: a change is one of the protocol", () => {
    expect(limits).toEqual({
      HEARTBEAT_MS: 1_000,
      SUSPECT_AFTER_MS: 3_000,
      EXPIRED_AFTER_MS: 10_000,
      FORGOTTEN_AFTER_CLOSE_MS: 3_000,
      POOL_TICK_MS: 250,
      HOLD_MS: 5_000,
      CLAIM_LIVES_MS: 7_000,
      MOST_WAIT_MS: 90_000,
      RESERVED_LIVES_MS: 5_000,
      ADMISSION_LIVES_MS: 15_000,
      ACCEPTED_WITHIN_MS: 1_000,
      HEADERS_TIMEOUT_MS: 3_000,
      KEEP_ALIVE_MS: 1_000,
      SILENCE_MS: 10_000,
      LINE_LEAVES_MS: 5_000,
    });
  });
});
