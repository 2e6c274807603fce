import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Ticker } from "../../workers/ticker.ts";

const HOUR_MS = 3_600_000;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "Date"] });
});
afterEach(() => {
  vi.useRealTimers();
});

it.each([0, -HOUR_MS, HOUR_MS])("a request has waited as long as it has, within a second, when the clock was set by %d ms", (jumpMs) => {
  const ticker = new Ticker(Date.now() - 500);
  vi.advanceTimersByTime(3_200);
  expect(ticker.waitedMs).toBe(3_700);
  vi.setSystemTime(Date.now() + jumpMs);
  expect(Math.abs(ticker.waitedMs - 3_700)).toBeLessThanOrEqual(1_200);
  vi.advanceTimersByTime(60_000);
  expect(Math.abs(ticker.waitedMs - 63_700)).toBeLessThanOrEqual(1_200);
  ticker.stop();
});

it("a body that came with a clock set meanwhile took no hour", () => {
  const [early, late] = [new Ticker(Date.now() - HOUR_MS), new Ticker(Date.now() + HOUR_MS)];
  expect([early.waitedMs, late.waitedMs]).toEqual([120_000, 0]);
  early.stop();
  late.stop();
});
