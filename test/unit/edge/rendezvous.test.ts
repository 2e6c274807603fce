import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { headOf, rendezvous } from "../../../src/edge/rendezvous.ts";
import { hashes } from "../residency/hashes.ts";

const names = (count: number, weight = 1) => Array.from({ length: count }, (_, index) => ({ name: `chat-${index}`, weight }));

function shares(keys: BigUint64Array, of: { name: string; weight: number }[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const key of keys) {
    const first = rendezvous(key, of)[0] ?? "";
    counts.set(first, (counts.get(first) ?? 0) + 1 / keys.length);
  }
  return counts;
}

describe("rendezvous", () => {
  const keys = hashes(20_000, 1);

  it("balances", () => {
    for (const share of shares(keys, names(10)).values()) expect(Math.abs(share - 0.1)).toBeLessThan(0.01);
  });

  it("spreads a pool's second choices over all others", () => {
    const seconds = new Map<string, number>();
    let firsts = 0;
    for (const key of keys) {
      const [first = "", second = ""] = rendezvous(key, names(5));
      if (first !== "chat-0") continue;
      firsts++;
      seconds.set(second, (seconds.get(second) ?? 0) + 1);
    }
    expect(seconds.size).toBe(4);
    for (const times of seconds.values()) expect(Math.abs(times / firsts - 0.25)).toBeLessThan(0.04);
  });

  it("follows weights, and gives nothing to weight 0", () => {
    const counted = shares(keys, [
      { name: "chat", weight: 95 },
      { name: "chat-next", weight: 5 },
      { name: "off", weight: 0 },
    ]);
    expect(counted.get("chat")).toBeCloseTo(0.95, 2);
    expect(counted.get("chat-next")).toBeCloseTo(0.05, 2);
    expect(counted.has("off")).toBe(false);
    expect(rendezvous(5n, [...names(2), { name: "off", weight: 0 }]).at(-1)).toBe("off");
  });

  it("moves only what a new pool wins", () => {
    const before = names(9);
    const after = names(10);
    let moved = 0;
    for (const key of keys) {
      const [old = ""] = rendezvous(key, before);
      const [now = ""] = rendezvous(key, after);
      if (now === old) continue;
      expect(now).toBe("chat-9");
      moved++;
    }
    expect(moved / keys.length).toBeCloseTo(0.1, 2);
  });

  it("moves only from or to what got another weight", () => {
    const of = (weight: number) => [
      { name: "a", weight: 60 },
      { name: "b", weight: 30 },
      { name: "canary", weight },
    ];
    for (const key of keys.subarray(0, 5_000)) {
      const [old] = rendezvous(key, of(5));
      const [now] = rendezvous(key, of(20));
      if (now !== old) expect(now).toBe("canary");
    }
  });

  it("does not depend on the order of the names", () => {
    const property = fc.property(
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      fc.shuffledSubarray(names(6), { minLength: 6 }),
      (key, of) => {
        expect(rendezvous(key, of)).toEqual(rendezvous(key, names(6)));
      },
    );
    fc.assert(property, { seed: 6, numRuns: 100 });
  });
});

describe("a head", () => {
  const chain = hashes(40, 2);
  const ends = Uint32Array.from({ length: 40 }, (_, depth) => (depth + 1) * 256);

  it("is the last segment within 2 KiB, and the same for all that share it", () => {
    expect(headOf(chain, ends)).toBe(chain[7]);
    expect(headOf(chain.slice(0, 9), ends.slice(0, 9))).toBe(chain[7]);
  });

  it("of a short prompt is its last segment, of none 0", () => {
    expect(headOf(chain.slice(0, 3), ends.slice(0, 3))).toBe(chain[2]);
    expect(headOf(chain.slice(0, 1), Uint32Array.of(4_096))).toBe(chain[0]);
    expect(headOf(new BigUint64Array(), new Uint32Array())).toBe(0n);
  });
});
