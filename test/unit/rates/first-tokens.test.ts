import { describe, expect, it } from "vitest";
import { RateBook } from "../../../src/rates/rate-book.ts";
import { dice } from "../decision/views.ts";

describe("times to the first token", () => {
  it("are learnt from short prompts without a word on long ones", () => {
    const rates = new RateBook();
    const roll = dice(3);
    for (let n = 0; n < 200; n++) rates.reportFirstToken(0, 0.5 + roll() / 2, 10 + 20 * roll(), 100 * n);
    const after = (workMs: number) => rates.of(0).ttftExtraMs + rates.of(0).ttftStretch * workMs;
    expect(after(0.7)).toBeGreaterThan(10);
    expect(after(0.7)).toBeLessThan(30);
    expect(after(2_000)).toBeGreaterThan(1_500);
    expect(after(2_000)).toBeLessThan(2_500);
    for (let n = 0; n < 30; n++) rates.reportFirstToken(0, 500 + 1_000 * roll(), (500 + 1_000 * roll()) * 2 + 20, 100_000 + 5_000 * n);
    expect(after(1_000)).toBeGreaterThan(1_600);
    expect(after(1_000)).toBeLessThan(2_400);
  });

  it("are each replica's own: what a step takes on a slow one is not what it takes on the others", () => {
    const rates = new RateBook();
    const roll = dice(5);
    for (let n = 0; n < 400; n++) {
      const replica = n % 4;
      const slowness = replica === 2 ? 3 : 1;
      const workMs = slowness * (n % 5 === 0 ? 60 : 2);
      rates.reportFirstToken(replica, workMs, (slowness * 40 + workMs) * Math.exp(0.3 * (2 * roll() - 1)), 100 * n);
    }
    const firstTokenMs = (slot: number, workMs: number): number => rates.of(slot).ttftExtraMs + rates.of(slot).ttftStretch * workMs;
    for (const slot of [0, 1, 3]) {
      expect(firstTokenMs(slot, 2) / 42).toBeGreaterThan(0.7);
      expect(firstTokenMs(slot, 2) / 42).toBeLessThan(1.4);
    }
    expect(firstTokenMs(2, 6) / 126).toBeGreaterThan(0.7);
    expect(firstTokenMs(2, 6) / 126).toBeLessThan(1.4);
    const after = new RateBook();
    after.restore(JSON.parse(JSON.stringify(rates.save())) as ReturnType<RateBook["save"]>);
    const kept = after.of(2).ttftExtraMs + after.of(2).ttftStretch * 6;
    expect(kept / 126).toBeGreaterThan(0.6);
    expect(kept / 126).toBeLessThan(1.5);
  });

  it("count once where many waited while their replica stood still", () => {
    const rates = new RateBook();
    const roll = dice(11);
    let nowMs = 0;
    const usual = (replica: number): void => {
      const workMs = 20 + 200 * roll();
      rates.reportFirstToken(replica, workMs, workMs + 30, (nowMs += 300));
    };
    for (let n = 0; n < 60; n++) usual(n % 2);
    nowMs += 15_000;
    for (let n = 0; n < 16; n++) rates.reportFirstToken(0, 50 + 20 * n, 14_000 - 10 * n, nowMs + n);
    const firstTokenMs = (slot: number, workMs: number): number => rates.of(slot).ttftExtraMs + rates.of(slot).ttftStretch * workMs;
    expect(firstTokenMs(1, 200) / 230).toBeLessThan(1.5);
    expect(firstTokenMs(0, 200) / 230).toBeLessThan(4);
    for (let n = 0; n < 20; n++) usual(n % 2);
    expect(firstTokenMs(0, 200) / 230).toBeLessThan(1.5);
  });

  it("have a long prompt take its own prefill, though what waits ahead of short ones adds nothing", () => {
    const rates = new RateBook();
    const roll = dice(7);
    for (let n = 0; n < 4_000; n++) {
      const ownMs = roll() < 0.05 ? 100 + 100 * roll() : 1 + 5 * roll();
      const aheadMs = roll() < 0.4 ? 30 * roll() : 0;
      rates.reportFirstToken(0, ownMs + aheadMs, (ownMs + 45) * Math.exp(0.45 * (2 * roll() - 1)), 100 * n);
      if (n < 500 || n % 50 !== 0) continue;
      const { ttftExtraMs, ttftStretch } = rates.of(0);
      for (const workMs of [3, 200]) {
        expect((ttftExtraMs + ttftStretch * workMs) / (45 + workMs)).toBeGreaterThan(0.6);
        expect((ttftExtraMs + ttftStretch * workMs) / (45 + workMs)).toBeLessThan(1.6);
      }
    }
  });
});
