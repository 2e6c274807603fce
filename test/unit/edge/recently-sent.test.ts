import { describe, expect, it } from "vitest";
import { RecentlySent } from "../../../src/edge/recently-sent.ts";
import { hashes } from "../residency/hashes.ts";

const ends = (length: number): Uint32Array => Uint32Array.from({ length }, (_, depth) => (depth + 1) * 256);
/** `shared` segments of one prompt, then so many of its own. */
function chainOf(shared: number, own: number, seed: number) {
  const all = new BigUint64Array([...hashes(64, 1).slice(0, shared), ...hashes(64, seed).slice(0, own)]);
  return { hashes: all, ends: ends(all.length) };
}

describe("what was sent lately", () => {
  it("is found as far as a prompt has it in common, in the pool that it went to", () => {
    const sent = new RecentlySent();
    sent.keep("a", chainOf(20, 5, 2), 0);
    expect(sent.overlap("a", chainOf(20, 5, 2), 10)).toBe(25);
    expect(sent.overlap("a", chainOf(20, 30, 3), 10)).toBe(20);
    expect(sent.overlap("b", chainOf(20, 5, 2), 10)).toBe(0);
    // The next turn: all of the last one and more.
    const next = chainOf(20, 40, 2);
    expect(sent.overlap("a", next, 10)).toBe(25);
    sent.keep("a", chainOf(16, 40, 4), 20);
    expect(sent.overlap("a", next, 30)).toBe(25);
  });

  it("is forgotten once a sketch has it", () => {
    const sent = new RecentlySent();
    sent.keep("a", chainOf(20, 5, 2), 0);
    expect(sent.overlap("a", chainOf(20, 5, 2), 5_000)).toBe(25);
    expect(sent.overlap("a", chainOf(20, 5, 2), 5_001)).toBe(0);
    sent.keep("a", chainOf(20, 5, 2), 6_000);
    expect(sent.overlap("a", chainOf(20, 5, 2), 7_000)).toBe(25);
  });

  it("keeps the last prompts of a head, and no more segments than it may", () => {
    const sent = new RecentlySent();
    for (let seed = 2; seed < 30; seed++) sent.keep("a", chainOf(20, 5, seed), seed);
    expect(sent.overlap("a", chainOf(20, 5, 2), 30)).toBe(20);
    expect(sent.overlap("a", chainOf(20, 5, 29), 30)).toBe(25);
    const long = (seed: number) => ({ hashes: hashes(100_000, seed), ends: ends(100_000) });
    for (let seed = 100; seed < 107; seed++) sent.keep("a", long(seed), 40);
    expect(sent.overlap("a", chainOf(20, 5, 29), 40)).toBe(0);
    expect(sent.overlap("a", long(101), 40)).toBe(0);
    expect(sent.overlap("a", long(102), 40)).toBe(100_000);
    expect(sent.overlap("a", long(106), 40)).toBe(100_000);
  });

  it("of an empty prompt is nothing", () => {
    const sent = new RecentlySent();
    const empty = { hashes: new BigUint64Array(), ends: new Uint32Array() };
    sent.keep("a", empty, 0);
    expect(sent.overlap("a", empty, 0)).toBe(0);
  });
});
