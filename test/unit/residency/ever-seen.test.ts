import { describe, expect, it } from "vitest";
import { createSegmentIndex } from "../../../src/residency/typed-array-index.ts";
import { EverSeen } from "../../../src/residency/ever-seen.ts";

const MIB = 1024 * 1024;
const chainOf = (seed: number, length: number): BigUint64Array =>
  BigUint64Array.from({ length }, (_, depth) => (BigInt(seed * 1_000 + depth + 1) * 0x9e3779b97f4a7c15n) & 0xffff_ffff_ffff_ffffn);

describe("prompts that came by", () => {
  it("are counted by the bytes of the segments that came before", () => {
    const seen = new EverSeen(createSegmentIndex({ maxParts: 1 }));
    const prompt = { chain: chainOf(1, 3), promptBytes: 2_000, promptTokens: 500 };
    const ends = [256, 512, 1_536];
    expect(seen.pass({ ...prompt, chain: prompt.chain.slice(0, 2) }, 0, ends)).toBe(0);
    expect(seen.pass(prompt, 0, ends)).toBe(128);
    // What lies behind the last whole segment was never looked at.
    expect(seen.pass(prompt, 0, ends)).toBe(384);
    expect(seen.pass(prompt, 0, [])).toBe(500);
    expect(seen.pass({ ...prompt, chain: new BigUint64Array() }, 0, ends)).toBe(0);
  });

  it("count as far as replicas hold them without being looked for, and when they are given up", () => {
    const seen = new EverSeen(createSegmentIndex({ maxParts: 1 }));
    const prompt = { chain: chainOf(1, 4), promptBytes: 4_000, promptTokens: 400 };
    expect(seen.pass(prompt, 2, [])).toBe(200);
    // Behind what was held all is remembered; the held ones were not, and nobody holds them now.
    expect(seen.pass(prompt, 2, [])).toBe(400);
    expect(seen.pass({ ...prompt, chain: prompt.chain.slice(0, 2) }, 0, [])).toBe(0);
    const other = { ...prompt, chain: chainOf(2, 4) };
    for (const hash of other.chain) seen.givenUp(hash);
    expect(seen.pass(other, 0, [])).toBe(400);
  });

  it("are forgotten when there is no room, those not seen for longest first", () => {
    const seen = new EverSeen(createSegmentIndex({ maxParts: 1 }));
    const prompt = (seed: number) => ({ chain: chainOf(seed, 100), promptBytes: 10_000, promptTokens: 100 });
    for (let seed = 0; seed < 1_500; seed++) {
      seen.tick(seed);
      seen.pass(prompt(0), 0, []);
      seen.pass(prompt(seed), 0, []);
    }
    expect(seen.bytes).toBe(MIB);
    expect(seen.pass(prompt(0), 0, [])).toBe(100);
    expect(seen.pass(prompt(1), 0, [])).toBe(0);
    expect(seen.pass(prompt(1_499), 0, [])).toBe(100);
  });
});
