/** Rules that look at loads or at nothing. */
import { describe, expect, it } from "vitest";
import { consistentHash } from "../../../../simulator/peers/consistent-hash.ts";
import { leastLoaded } from "../../../../simulator/peers/least-loaded.ts";
import { powerOfTwo } from "../../../../simulator/peers/power-of-two.ts";
import { random } from "../../../../simulator/peers/random.ts";
import { roundRobin } from "../../../../simulator/peers/round-robin.ts";
import { sticky } from "../../../../simulator/peers/sticky.ts";
import { ask, draws, loaded, noDraw, sight } from "./sights.ts";

describe("round robin", () => {
  it("takes each in turn, busy or not", () => {
    const policy = roundRobin();
    const sights = [loaded(0, 99), sight(1), sight(2, { deviceTokens: 100 })];
    expect([1, 2, 3, 4].map(() => policy.choose(ask(100), sights, noDraw))).toEqual([0, 1, 2, 0]);
  });

  it("goes on when a replica leaves", () => {
    const policy = roundRobin();
    const sights = [sight(0), sight(1), sight(2)];
    policy.choose(ask(1), sights, noDraw);
    policy.choose(ask(1), sights, noDraw);
    // Two placed: 2 mod 2 = 0, then 3 mod 2 = 1.
    expect([1, 2].map(() => policy.choose(ask(1), sights.slice(0, 2), noDraw))).toEqual([0, 1]);
  });
});

describe("random", () => {
  // Quarters of [0, 1): floor(4 * draw).
  it.each([
    [0, 0],
    [0.2499, 0],
    [0.25, 1],
    [0.7499, 2],
    [0.9999, 3],
  ])("draw %d takes %d of four", (drawn, index) => {
    expect(random().choose(ask(1), [sight(0), sight(1), sight(2), sight(3)], draws(drawn))).toBe(index);
  });
});

describe("power of two", () => {
  const sights = [loaded(0, 5), loaded(1, 3), loaded(2, 3), loaded(3, 0)];

  it("takes the one with fewer in flight of the two it draws", () => {
    // First: floor(4 * 0) = 0. Second: 0 + 1 + floor(3 * 0) = 1. Loads 5 and 3.
    expect(powerOfTwo().choose(ask(1), sights, draws(0, 0))).toBe(1);
  });

  it("counts those waiting too", () => {
    const waiting = [loaded(0, 5), sight(1, { runningRequests: 3, waitingRequests: 3 })];
    expect(powerOfTwo().choose(ask(1), waiting, draws(0, 0))).toBe(0);
  });

  it("gives a tie to the first drawn", () => {
    // First: floor(4 * 0.5) = 2. Second: (2 + 1 + floor(3 * 0.7)) mod 4 = 5 mod 4 = 1. Loads 3 and 3.
    expect(powerOfTwo().choose(ask(1), sights, draws(0.5, 0.7))).toBe(2);
  });

  it("does not see the others: the idle one is not drawn", () => {
    // First: 1. Second: (1 + 1 + 0) mod 4 = 2. Tie at 3; replica 3 has 0.
    expect(powerOfTwo().choose(ask(1), sights, draws(0.25, 0))).toBe(1);
  });

  it("never draws the same twice", () => {
    // First: 3. Second: (3 + 1 + floor(3 * 0.99)) mod 4 = 6 mod 4 = 2.
    expect(powerOfTwo().choose(ask(1), [...sights.slice(0, 3), loaded(3, 9)], draws(0.75, 0.99))).toBe(2);
  });
});

describe("least loaded", () => {
  it("takes the fewest in flight, running and waiting together", () => {
    const sights = [
      loaded(0, 4),
      sight(1, { runningRequests: 1, waitingRequests: 2 }),
      sight(2, { runningRequests: 4, waitingRequests: 1 }),
    ];
    expect(leastLoaded().choose(ask(1), sights, noDraw)).toBe(1);
  });

  it("does not look at what they hold", () => {
    expect(leastLoaded().choose(ask(100), [loaded(0, 1, { deviceTokens: 100 }), sight(1)], noDraw)).toBe(1);
  });

  it.each([
    [0, 0],
    [0.49, 0],
    [0.5, 2],
  ])("breaks a tie by draw %d: %d", (drawn, index) => {
    expect(leastLoaded().choose(ask(1), [loaded(0, 2), loaded(1, 3), loaded(2, 2)], draws(drawn))).toBe(index);
  });
});

describe("sticky", () => {
  const session = ask(100, { session: "anna" });

  it("stays, whatever the load", () => {
    const policy = sticky();
    expect(policy.choose(session, [loaded(0, 1), sight(1)], noDraw)).toBe(1);
    expect(policy.choose(session, [sight(0), loaded(1, 200)], noDraw)).toBe(1);
  });

  it("knows a replica by its slot, not by its place", () => {
    const policy = sticky();
    policy.choose(session, [loaded(4, 1), sight(9)], noDraw);
    expect(policy.choose(session, [sight(9), sight(4)], noDraw)).toBe(0);
  });

  it("moves to the least loaded when its replica is gone, and stays there", () => {
    const policy = sticky();
    policy.choose(session, [loaded(0, 1), sight(1)], noDraw);
    expect(policy.choose(session, [loaded(0, 3), loaded(2, 2)], noDraw)).toBe(1);
    expect(policy.choose(session, [sight(0), loaded(2, 9)], noDraw)).toBe(1);
  });

  it("has nothing to keep for a request without a session", () => {
    const policy = sticky();
    expect(policy.choose(ask(1), [loaded(0, 1), sight(1)], noDraw)).toBe(1);
    expect(policy.choose(ask(1), [sight(0), loaded(1, 1)], noDraw)).toBe(0);
  });

  it("forgets the session that was used least lately beyond 65,536", () => {
    const policy = sticky();
    const towards = (index: number) => [loaded(0, index === 0 ? 0 : 1), loaded(1, index === 1 ? 0 : 1)];
    policy.choose(session, towards(1), noDraw);
    for (let n = 0; n < 65_535; n += 1) policy.choose(ask(1, { session: `s${n}` }), towards(0), noDraw);
    expect(policy.choose(session, towards(0), noDraw)).toBe(1);
    // "anna" is the newest now: two more push out s0 and s1, not her.
    policy.choose(ask(1, { session: "t0" }), towards(0), noDraw);
    policy.choose(ask(1, { session: "t1" }), towards(0), noDraw);
    expect(policy.choose(session, towards(0), noDraw)).toBe(1);
    expect(policy.choose(ask(1, { session: "s0" }), towards(1), noDraw)).toBe(1);
  });
});

describe("consistent hash", () => {
  const idle = [sight(0), sight(1), sight(2), sight(3)];
  const home = (given: Parameters<typeof ask>[1], sights = idle) => consistentHash().choose(ask(1_000, given), sights, noDraw);
  const chain = (...hashes: bigint[]) => BigUint64Array.from(hashes);

  it("sends a session to one place, whatever the prompt", () => {
    expect(home({ session: "anna", chain: chain(1n, 2n) })).toBe(home({ session: "anna", chain: chain(3n, 4n) }));
  });

  it("goes by the first two segments where there is no session", () => {
    const keys = Array.from({ length: 40 }, (_, n) => BigInt(n + 5));
    const homes = keys.map((key) => home({ chain: chain(1n, key, 7n) }));
    expect(keys.map((key) => home({ chain: chain(1n, key, 8n, 9n) }))).toEqual(homes);
    expect(new Set(homes).size).toBe(4);
    expect(home({ chain: chain(1n) })).toBe(home({ chain: chain(1n) }));
  });

  it("draws where there is nothing to go by", () => {
    expect(consistentHash().choose(ask(10), idle, draws(0.6))).toBe(2);
  });

  it("stays up to 1.25 times the mean, the new request counted, and walks on above", () => {
    const at = home({ session: "anna" });
    const withLoad = (load: number, others: number) => idle.map((each, index) => loaded(each.replica, index === at ? load : others));
    // Loads 10, 7, 7, 7: bound 1.25 * (31 + 1) / 4 = 10. At the bound it stays.
    expect(home({ session: "anna" }, withLoad(10, 7))).toBe(at);
    // Loads 11, 7, 7, 7: bound 1.25 * (32 + 1) / 4 = 10.3.
    expect(home({ session: "anna" }, withLoad(11, 7))).not.toBe(at);
  });

  it("walks to the same neighbour each time", () => {
    const at = home({ session: "anna" });
    const busy = idle.map((each, index) => loaded(each.replica, index === at ? 50 : 1));
    expect(home({ session: "anna" }, busy)).toBe(home({ session: "anna" }, busy));
  });

  it("moves only a leaver's sessions", () => {
    const sessions = Array.from({ length: 200 }, (_, n) => `session-${n}`);
    const before = sessions.map((session) => home({ session }));
    const after = sessions.map((session) => home({ session }, idle.slice(0, 3)));
    for (const [n, was] of before.entries()) if (was !== 3) expect(after[n]).toBe(was);
    // A quarter each, give or take.
    expect(before.filter((was) => was === 3).length).toBeGreaterThan(25);
    expect(before.filter((was) => was === 3).length).toBeLessThan(80);
  });
});
