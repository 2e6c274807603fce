import { describe, expect, it } from "vitest";
import type { Reservation } from "../../../src/pool/lease.ts";
import { LeaseBook } from "../../../src/pool/lease-book.ts";
import { STUCK_MS } from "../../../src/pool/prefill-watch.ts";

function reservation(id: string, extra: Partial<Reservation> = {}): Reservation {
  return { id, attempt: 1, replica: 0, nowMs: 0, promptTokens: 100, uncachedTokens: 40, predictedMs: 8, salt: "t", ...extra };
}

const key = (id: string, attempt = 1) => ({ id, attempt });

describe("overdue prefills", () => {
  /** By how much at each of these times; and the price, once there is one. */
  const overdueAt = (book: LeaseBook, replica: number, ...timesMs: number[]) =>
    timesMs.map((nowMs) => {
      const [overdueMs, stuckMs] = [book.prefills.overdueMs(replica, nowMs), book.prefills.stuckMs(replica, nowMs)];
      return stuckMs === 0 ? overdueMs : [overdueMs, stuckMs];
    });

  it("grow with the time that they are overdue, and are stuck within 3x of their prediction", () => {
    const book = new LeaseBook();
    book.reserve(reservation("a", { predictedMs: 1_900 }));
    book.started(key("a"), 100);
    expect(overdueAt(book, 0, 1_000, 1_900, 3_000, 5_699, 5_700)).toEqual([0, 0, 1_100, 3_799, [3_800, STUCK_MS]]);
    // A price is no prediction, and what is predicted of a lost cause has a bound.
    expect(overdueAt(book, 0, 3_600_000)).toEqual([[60_000, STUCK_MS]]);
    book.decoding(key("a"), 1, 9_000);
    expect(overdueAt(book, 0, 90_000)).toEqual([0]);
  });

  it("are stuck 10 s after they should have ended at most, and not within 1 s: short predictions are often wrong", () => {
    const book = new LeaseBook();
    book.reserve(reservation("long", { predictedMs: 60_000 }));
    expect(overdueAt(book, 0, 69_999, 70_000)).toEqual([9_999, [10_000, STUCK_MS]]);
    book.reserve(reservation("short", { predictedMs: 10, replica: 1 }));
    expect(overdueAt(book, 1, 500, 1_009, 1_010)).toEqual([490, 999, [1_000, STUCK_MS]]);
  });

  it("are counted from the last first token, and no client that leaves makes a stuck replica look alive", () => {
    const book = new LeaseBook();
    for (const id of ["a", "b", "c"]) book.reserve(reservation(id, { predictedMs: 1_000 }));
    for (const id of ["a", "b", "c"]) book.started(key(id), 1);
    book.decoding(key("a"), 1, 2_900);
    expect(book.prefills.overdueMs(0, 4_900)).toBe(0);
    book.release(key("b"), 8_000);
    expect(book.prefills.stuckMs(0, 8_000)).toBe(STUCK_MS);
    expect(book.forgetReplica(0, 8_100)).toHaveLength(2);
    expect(book.prefills.overdueMs(0, 99_000)).toBe(0);
  });

  it("are not those that nobody has taken up, nor those that another replica computes", () => {
    const book = new LeaseBook();
    book.reserve(reservation("doubted"));
    book.expire(1_500);
    book.reserve(reservation("elsewhere", { replica: 1, awaits: true }));
    book.started(key("elsewhere"), 1);
    expect([0, 1].map((replica) => book.prefills.overdueMs(replica, 60_000))).toEqual([0, 0]);
  });
});
