import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MOST_STEP_MS, PoolClock, SLEW } from "../../../src/pool/pool-clock.ts";

const HOUR_MS = 3_600_000;
const TICK_MS = 250;

/** Readings every 250 ms of real time; the pool's time that passes in them. */
function pass(clock: PoolClock, fromWallMs: number, realMs: number): number {
  const startMs = clock.at(fromWallMs);
  for (let passed = TICK_MS; passed <= realMs; passed += TICK_MS) clock.at(fromWallMs + passed);
  return clock.at(fromWallMs + realMs) - startMs;
}

describe("a pool's clock", () => {
  it("says what the wall clock says while that is let alone", () => {
    const clock = new PoolClock(5_000);
    expect(pass(clock, 5_000, 60_000)).toBe(60_000);
    expect(clock.at(65_000)).toBe(65_000);
  });

  it.each([-HOUR_MS, HOUR_MS])("goes on when the wall clock is set by %d ms, at no more than a hundredth off", (jumpMs) => {
    const clock = new PoolClock(HOUR_MS);
    pass(clock, HOUR_MS, 10_000);
    const before = clock.at(HOUR_MS + 10_000);
    const after = clock.at(HOUR_MS + 10_000 + jumpMs);
    expect(after).toBeGreaterThanOrEqual(before);
    expect(after - before).toBeLessThanOrEqual(MOST_STEP_MS * (1 + SLEW));
    const passedMs = pass(clock, HOUR_MS + 10_000 + jumpMs, 10_000);
    expect(Math.abs(passedMs - 10_000)).toBeLessThanOrEqual(10_000 * SLEW + 1);
  });

  it("comes back to the wall clock after a small step", () => {
    const clock = new PoolClock(0);
    pass(clock, 0, 1_000);
    pass(clock, 0, 110_000);
    expect(clock.at(110_000)).toBe(110_000);
  });

  it("believes a long pause when nobody was here, and never that time went back", () => {
    const clock = new PoolClock(1_000);
    clock.rest();
    expect(clock.at(HOUR_MS)).toBe(HOUR_MS);
    clock.rest();
    expect(clock.at(0)).toBe(HOUR_MS);
    expect(clock.at(Number.NaN)).toBe(HOUR_MS);
    expect(clock.at(Infinity)).toBe(HOUR_MS);
  });

  it("never goes back and never leaps, whatever it is read", () => {
    fc.assert(
      fc.property(fc.array(fc.double(), { maxLength: 60 }), (readings) => {
        const clock = new PoolClock(0);
        let last = 0;
        for (const reading of readings) {
          const now = clock.at(reading);
          expect(now).toBeGreaterThanOrEqual(last);
          expect(now - last).toBeLessThanOrEqual(MOST_STEP_MS * (1 + SLEW) + 1);
          last = now;
        }
      }),
      { seed: 61, numRuns: 300 },
    );
  });
});
