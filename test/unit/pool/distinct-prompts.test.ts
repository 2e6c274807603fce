import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ChainedPrompt, DistinctPrompts } from "../../../src/pool/distinct-prompts.ts";
import { LeaseBook } from "../../../src/pool/lease-book.ts";
import { liveKvTokens } from "../../../src/pool/load.ts";

const ENDS = [100, 200, 400, 800, 1_600];

/** Hashes that stand for all before them, as those of a chain do. */
function prompt(segments: readonly number[], tailBytes = 10): ChainedPrompt {
  let before = 1n;
  const chain = BigUint64Array.from(segments, (segment) => (before = (before * 31n + BigInt(segment) + 7n) & 0xffff_ffffn));
  return { chain, segmentEnds: ENDS, bytes: (ENDS[segments.length - 1] ?? 0) + tailBytes };
}

/** The bytes of a trie of all prompts. */
function bytesOf(prompts: readonly ChainedPrompt[]): number {
  const seen = new Set<bigint>();
  let bytes = 0;
  for (const { chain, bytes: whole } of prompts) {
    bytes += whole - (ENDS[chain.length - 1] ?? 0);
    for (const [at, hash] of chain.entries()) if (!seen.has(hash)) bytes += (ENDS[at] ?? 0) - (ENDS[at - 1] ?? 0);
    for (const hash of chain) seen.add(hash);
  }
  return bytes;
}

describe("distinct prompts", () => {
  it("count what several begin with once, whoever comes and goes", () => {
    const step = fc.record({ add: fc.boolean(), segments: fc.array(fc.nat(2), { maxLength: 5 }), at: fc.nat(20) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const distinct = new DistinctPrompts();
        const there: ChainedPrompt[] = [];
        for (const { add, segments, at } of steps) {
          if (add || there.length === 0) {
            there.push(prompt(segments));
            distinct.add(there.at(-1) ?? prompt([]));
          } else for (const gone of there.splice(at % there.length, 1)) distinct.remove(gone);
          expect(distinct.bytes).toBe(bytesOf(there));
        }
      }),
      { seed: 5, numRuns: 200 },
    );
  });

  it("add up to nothing when all are gone, where ends of segments are guesses that differ between prompts", () => {
    const step = fc.record({ add: fc.boolean(), segments: fc.array(fc.nat(2), { minLength: 1, maxLength: 5 }), at: fc.nat(20) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const distinct = new DistinctPrompts();
        const there: ChainedPrompt[] = [];
        const leave = (at: number): void => {
          for (const gone of there.splice(at, 1)) distinct.remove(gone);
          const most = there.reduce((sum, { bytes }) => sum + bytes, 0);
          const least = there.reduce((longest, { bytes }) => Math.max(longest, bytes), 0);
          expect(distinct.bytes).toBeGreaterThanOrEqual(least);
          expect(distinct.bytes).toBeLessThanOrEqual(most);
        };
        for (const { add, segments, at } of steps) {
          // No schedule is known, and the same segments begin prompts of other lengths.
          if (!add && there.length > 0) leave(at % there.length);
          else {
            there.push({ ...prompt(segments, 7 * at), segmentEnds: [] });
            distinct.add(there.at(-1) ?? prompt([]));
          }
        }
        while (there.length > 0) leave(0);
        expect(distinct.bytes).toBe(0);
      }),
      { seed: 5, numRuns: 200 },
    );
  });
});

describe("KV in use", () => {
  const claim = { attempt: 1, replica: 0, nowMs: 0, uncachedTokens: 50, predictedMs: 5, salt: "" };

  it("is each prefix of running requests once, where they differ", () => {
    const book = new LeaseBook();
    const chains = [
      [1, 1, 1],
      [1, 1, 2],
      [2, 1, 1],
    ] as const;
    for (const [n, segments] of chains.entries()) book.reserve({ ...claim, id: `r${n}`, promptTokens: 100, prompt: prompt(segments, 0) });
    // Two share 200 of 400 bytes, at 100 tokens for 400 bytes.
    expect(liveKvTokens(book.load(0))).toBe(250);
    book.settle({ id: "r1", attempt: 1 }, { promptTokens: 100, cachedTokens: 50, outputTokens: 0 }, 1);
    expect(liveKvTokens(book.load(0))).toBe(200);
  });

  it("is what the replica reports where that is more, until requests end", () => {
    const book = new LeaseBook();
    for (const id of ["a", "b"]) book.reserve({ ...claim, id, promptTokens: 100, prompt: prompt([1, 1, 1], 0) });
    book.reserve({ ...claim, id: "c", promptTokens: 100, uncachedTokens: 0, prompt: prompt([2, 1, 1], 0) });
    book.usedKv(0, 4_000);
    expect(liveKvTokens(book.load(0))).toBe(4_000);
    // All of it is another one's, too.
    book.release({ id: "a", attempt: 1 }, 1);
    expect(liveKvTokens(book.load(0))).toBe(4_000);
    // None of it is, whether it was computed or found there.
    book.release({ id: "c", attempt: 1 }, 1);
    expect(liveKvTokens(book.load(0))).toBe(3_900);
    book.usedKv(0, 20);
    expect(liveKvTokens(book.load(0))).toBe(100);
    book.release({ id: "b", attempt: 1 }, 1);
    expect(liveKvTokens(book.load(0))).toBe(0);
  });
});
