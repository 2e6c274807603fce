import { describe, expect, it } from "vitest";
import { SaltShares } from "../../../src/pool/salt-shares.ts";

describe("shares of tenants", () => {
  it("forget half of what was served in 30 s, and three quarters in 60 s", () => {
    const shares = new SaltShares();
    shares.serve("a", 1_600, 0);
    expect([0, 30_000, 60_000].map((nowMs) => shares.servedMs("a", nowMs))).toEqual([1_600, 800, 400]);
    // What is left of the old service is added to the new one.
    shares.serve("a", 200, 30_000);
    expect([30_000, 60_000].map((nowMs) => shares.servedMs("a", nowMs))).toEqual([1_000, 500]);
  });

  it("set a tenant back by what it was served beyond the mean, and forgive half of that in 30 s", () => {
    const shares = new SaltShares();
    shares.serve("a", 1_600, 0);
    const setbacks = (nowMs: number) => Object.fromEntries(shares.setbacks(["a", "b"], nowMs));
    expect(setbacks(0)).toEqual({ a: 800, b: 0 });
    expect(setbacks(30_000)).toEqual({ a: 400, b: 0 });
  });
});
