import { expect, test } from "vitest";
import type { EngineKey } from "../../gpu-backend/engine/engine.ts";
import { PinBudget } from "../../gpu-backend/pin-budget.ts";

const keys = (salt: string, count: number): EngineKey[] => Array.from({ length: count }, (_, n) => `${salt}${n}` as EngineKey);

test("one salt pins its share, all together pin half, and what has run out is free again", () => {
  const budget = new PinBudget({ ofOne: 25, ofAll: 50 });
  const taken = (salt: string, untilMs: number, nowMs: number): number => budget.take(salt, keys(salt, 40), untilMs, nowMs).length;
  expect(["a", "b", "c", "d"].map((salt) => taken(salt, 1_000, 0))).toEqual([25, 25, 0, 0]);
  expect(budget.blocks).toBe(50);
  // Pinned already: nothing more is counted.
  expect(taken("a", 2_000, 10)).toBe(25);
  expect(taken("c", 3_000, 1_500)).toBe(25);
  expect(taken("d", 3_000, 1_500)).toBe(0);
  expect(taken("d", 4_000, 2_500)).toBe(25);
});
