import { expect, it } from "vitest";
import { dayOfPlace, DAYS, endOfDay, placeOfDay, RETENTION_MS } from "../../../src/records/record-day.ts";

const DAY_MS = 86_400_000;
const NOW_MS = Date.UTC(2026, 11, 1, 23, 59, 59);

it("a day is found by its place while its records are kept, and an hour longer", () => {
  for (let age = 0; age <= RETENTION_MS / DAY_MS; age++) {
    const madeAtMs = NOW_MS - age * DAY_MS;
    const dayMs = Math.floor(madeAtMs / DAY_MS) * DAY_MS;
    expect(dayOfPlace(placeOfDay(madeAtMs), NOW_MS)).toBe(dayMs);
    expect(endOfDay(dayMs)).toBeGreaterThan(madeAtMs + 3_600_000 + RETENTION_MS);
  }
});

it("a record made by a clock that is a second ahead, over midnight, lies in tomorrow", () => {
  const aheadMs = NOW_MS + 1_000;
  expect(dayOfPlace(placeOfDay(aheadMs), NOW_MS)).toBe(Math.floor(aheadMs / DAY_MS) * DAY_MS);
});

it("a place comes again only after the day before at it has ended", () => {
  const dayMs = Math.floor(NOW_MS / DAY_MS) * DAY_MS;
  expect(placeOfDay(dayMs + DAYS * DAY_MS)).toBe(placeOfDay(dayMs));
  expect(endOfDay(dayMs)).toBeLessThan(dayMs + DAYS * DAY_MS);
});
