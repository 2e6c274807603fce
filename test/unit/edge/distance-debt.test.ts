import { describe, expect, it } from "vitest";
import { DistanceDebt } from "../../../src/edge/distance-debt.ts";

const HEAD = 7n;

describe("what ways have cost", () => {
  it("adds up over a head's conversations, and over the turns of each", () => {
    const paid = new DistanceDebt();
    paid.went(1n, HEAD, 100, 0);
    paid.went(1n, HEAD, 100, 1);
    paid.went(2n, HEAD, 50, 2);
    expect(paid.paidMs(1n, HEAD, 3)).toBe(200);
    expect(paid.paidMs(2n, HEAD, 3)).toBe(50);
    // A new conversation is its head's.
    expect(paid.paidMs(3n, HEAD, 3)).toBe(250);
    expect(paid.paidMs(3n, 8n, 3)).toBe(0);
  });

  it("is spent by going near: by a conversation its own, by a new one its head's", () => {
    const paid = new DistanceDebt();
    paid.went(1n, HEAD, 100, 0);
    paid.went(2n, HEAD, 100, 0);
    paid.went(1n, HEAD, 0, 1);
    // Spent; it asks for its head's now, as a new one does.
    expect(paid.paidMs(1n, HEAD, 2)).toBe(200);
    expect(paid.paidMs(2n, HEAD, 2)).toBe(100);
    paid.went(3n, HEAD, 0, 3);
    expect(paid.paidMs(4n, HEAD, 4)).toBe(0);
    expect(paid.paidMs(2n, HEAD, 4)).toBe(100);
  });

  it("is forgotten after ten minutes, and where too many are kept the oldest first", () => {
    const paid = new DistanceDebt();
    paid.went(1n, HEAD, 100, 0);
    expect(paid.paidMs(1n, HEAD, 600_000)).toBe(100);
    expect(paid.paidMs(1n, HEAD, 600_001)).toBe(0);
    for (let key = 10n; key < 20_000n; key++) paid.went(key, key + 100_000n, 1, 600_000);
    expect(paid.paidMs(10n, 100_010n, 600_000)).toBe(0);
    expect(paid.paidMs(19_999n, 0n, 600_000)).toBe(1);
  });
});
