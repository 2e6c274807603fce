import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Lease } from "../../../src/pool/lease.ts";
import { LeaseBook } from "../../../src/pool/lease-book.ts";
import { DEFAULT_SCHEDULE, segmentEnds } from "../../../src/prefix/segment.ts";
import { halvesOf, MOST_PATHS, PATH_LIVES_MS, PredictedPaths, predictedTokensAt } from "../../../src/pool/predicted-paths.ts";

const chain = (...hashes: number[]) => BigUint64Array.from(hashes, (hash) => BigInt(hash) * 0x1_0000_0001n);
const halves = (...hashes: number[]) => halvesOf(chain(...hashes));
const hash = (value: number) => BigInt(value) * 0x1_0000_0001n;

function rig() {
  const leases = new LeaseBook();
  const paths = new PredictedPaths();
  let ids = 0;
  const lease = (
    replica: number,
    hashes: number[],
    nowMs: number,
    promptTokens = hashes.length * 100,
    kvTokens = 10_000,
    fetched = false,
  ): Lease => {
    const claim = { id: `r${ids++}`, attempt: 1, replica, nowMs, promptTokens, uncachedTokens: promptTokens, predictedMs: 1, salt: "s" };
    const outcome = leases.reserve(claim);
    if (outcome.kind !== "reserved") throw new Error(outcome.kind);
    paths.add(outcome.lease, { chain: chain(...hashes), promptBytes: promptTokens * 4, fetched }, kvTokens, nowMs);
    return outcome.lease;
  };
  const shared = (replica: number, hashes: number[], nowMs: number, from = 0) =>
    paths.longest(replica, halves(...hashes), from, nowMs)?.segments ?? from;
  return { leases, paths, lease, shared };
}

describe("the path of a lease", () => {
  it("is followed by siblings from the lease on, as far as they share it", () => {
    const { lease, shared } = rig();
    lease(2, [1, 2, 3], 0);
    expect([shared(2, [1, 2, 9, 9], 0), shared(2, [1, 2, 3, 4], 0), shared(2, [7, 2, 3], 0), shared(1, [1, 2, 3], 0)]).toEqual([
      2, 3, 0, 0,
    ]);
    // No more than residency says itself.
    expect(shared(2, [1, 2, 9], 0, 2)).toBe(2);
    lease(2, [1, 2, 3, 4, 5], 1);
    expect(shared(2, [1, 2, 3, 4, 6], 1, 1)).toBe(4);
  });

  it("is followed from its first token on where another replica computes or sends it", () => {
    const { lease, leases, shared } = rig();
    const fetched = lease(2, [1, 2, 3], 0, 300, 10_000, true);
    expect(shared(2, [1, 2, 3], 1)).toBe(0);
    leases.decoding(fetched, 1, 5);
    expect(shared(2, [1, 2, 3], 6)).toBe(3);
  });

  it("is kept while it is fetched, however many others have ended meanwhile", () => {
    const { lease, leases, paths, shared } = rig();
    paths.announced(2, []);
    const fetched = lease(2, [1, 2, 3], 0, 300, 10_000, true);
    for (let at = 0; at < 40; at++) leases.release(lease(2, [100 + at], 1), 1);
    expect(paths.count(2)).toBeLessThan(10);
    leases.decoding(fetched, 1, 5);
    expect(shared(2, [1, 2, 3], 6)).toBe(3);
  });

  it("ends with a lease that failed before its first token", () => {
    const { lease, leases, shared } = rig();
    const failed = lease(2, [1, 2, 3], 0);
    leases.release(failed, 5);
    expect(shared(2, [1, 2, 3], 6)).toBe(0);
  });

  it("ends when its replica has announced its end, or the segment before, and not before its first token", () => {
    const { lease, leases, paths, shared } = rig();
    const first = lease(2, [1, 2, 3], 0);
    paths.announced(2, [hash(1)]);
    expect(shared(2, [1, 2, 3], 1)).toBe(3);
    leases.decoding(first, 1, 2);
    paths.firstToken(first, 3_000, 0, 0);
    paths.announced(2, [hash(1)]);
    expect(shared(2, [1, 2, 3], 3)).toBe(3);
    paths.announced(2, [hash(2)]);
    expect([shared(2, [1, 2, 3], 4), paths.count(2)]).toEqual([0, 0]);
  });

  it("ends at its first token where its replica has announced its end by then, as replicas do: the index alone says what is evicted", () => {
    const { lease, leases, paths, shared } = rig();
    const first = lease(2, [1, 2, 3], 0);
    paths.announced(2, [hash(1), hash(2), hash(3)]);
    // A sibling follows while it is computed.
    expect(shared(2, [1, 2, 3], 1)).toBe(3);
    leases.decoding(first, 1, 2);
    paths.firstToken(first, 3_000, 0, 0);
    expect([shared(2, [1, 2, 3], 4), paths.count(2)]).toEqual([0, 0]);
  });

  it("ends at its first token where all of it was announced before it was leased", () => {
    const { leases, paths, shared } = rig();
    paths.announced(2, [hash(1), hash(2), hash(3)]);
    const claim = { attempt: 1, replica: 2, nowMs: 0, promptTokens: 3_000, uncachedTokens: 1, predictedMs: 1, salt: "" };
    const reserved = leases.reserve({ ...claim, id: "again" });
    if (reserved.kind !== "reserved") throw new Error(reserved.kind);
    const prompt = { chain: BigUint64Array.of(hash(1), hash(2), hash(3)), promptBytes: 12_000, fetched: false, announcedSegments: 3 };
    paths.add(reserved.lease, prompt, 40_960, 0);
    leases.decoding(reserved.lease, 1, 2);
    paths.firstToken(reserved.lease, 3_000, 2_999, 2_999);
    expect([shared(2, [1, 2, 3], 4), paths.count(2)]).toEqual([0, 0]);
  });

  it("stays after its first token where only what comes before its end was announced when it was leased, however late its own events come", () => {
    const { leases, paths, shared } = rig();
    paths.announced(2, [hash(1), hash(2)]);
    const claim = { attempt: 1, replica: 2, nowMs: 0, promptTokens: 1_500, uncachedTokens: 500, predictedMs: 1, salt: "" };
    const reserved = leases.reserve({ ...claim, id: "one further" });
    if (reserved.kind !== "reserved") throw new Error(reserved.kind);
    paths.add(reserved.lease, { chain: chain(1, 2, 3), promptBytes: 6_000, fetched: false, announcedSegments: 2 }, 40_960, 0);
    leases.decoding(reserved.lease, 1, 2);
    paths.firstToken(reserved.lease, 1_500, 1_000, 1_000);
    // The beginning again, as after a resync: old news.
    paths.announced(2, [hash(1), hash(2)]);
    expect(shared(2, [1, 2, 3], 5_000, 2)).toBe(3);
    paths.announced(2, [hash(3)]);
    expect([shared(2, [1, 2, 3], 5_001, 2), paths.count(2)]).toEqual([2, 0]);
  });

  it("ends where its replica gives up what it rests on, though its own end was never announced", () => {
    const { lease, leases, paths, shared } = rig();
    paths.announced(2, [hash(1), hash(2)]);
    const held = lease(2, [1, 2, 3], 0);
    // Given up before it is computed: it comes again.
    paths.announced(2, [], [hash(2)]);
    expect(shared(2, [1, 2, 3], 1)).toBe(3);
    leases.decoding(held, 1, 2);
    paths.firstToken(held, 300, 0, 200);
    expect(shared(2, [1, 2, 3], 3)).toBe(3);
    paths.announced(2, [], [hash(2)]);
    expect([shared(2, [1, 2, 3], 4), paths.count(2)]).toEqual([0, 0]);
  });

  it("ends so long after its first token where nothing was announced of it; later where it proved to be there", () => {
    const { lease, leases, paths, shared } = rig();
    paths.announced(2, [hash(99)]);
    const [one, other] = [lease(2, [1, 2, 3], 0, 3_000), lease(2, [4, 5, 6], 0, 3_000)];
    for (const each of [one, other]) leases.decoding(each, 1, 100);
    paths.firstToken(other, 3_000, 2_000, 0);
    expect(shared(2, [1, 2, 3], 99 + PATH_LIVES_MS)).toBe(3);
    expect([shared(2, [1, 2, 3], 100 + PATH_LIVES_MS), shared(2, [4, 5, 6], 100 + PATH_LIVES_MS)]).toEqual([0, 3]);
  });
});

describe("a replica that announces nothing", () => {
  it("is modelled: the paths leased last that fit into its cache, a shared part once", () => {
    const { lease, leases, shared } = rig();
    const leased = [
      [1, 2, 3],
      [1, 2, 4],
      [1, 2, 5],
      [9, 8, 7],
    ].map((hashes, n) => lease(2, hashes, n, 300, 700));
    for (const each of leased) {
      leases.decoding(each, 1, 10);
      leases.settle(each, { promptTokens: 300, cachedTokens: 0, outputTokens: 1 }, 20);
    }
    // 3, 4 and [1, 2, 5] share 200; with the last path that is 800 of 700.
    lease(2, [9, 8, 7], 30, 300, 700);
    expect([shared(2, [1, 2, 3], 1e6), shared(2, [1, 2, 5], 1e6), shared(2, [9, 8, 7], 1e6)]).toEqual([2, 3, 3]);
  });

  it("is believed smaller when it reuses less than the model says", () => {
    const { lease, leases, paths, shared } = rig();
    const [one, two] = [lease(2, [1, 2], 0, 4_000, 8_000), lease(2, [3, 4], 0, 4_000, 8_000)];
    for (const each of [one, two]) {
      leases.decoding(each, 1, 1);
      leases.settle(each, { promptTokens: 4_000, cachedTokens: 0, outputTokens: 1 }, 2);
    }
    paths.firstToken(two, 4_000, 0, 4_000);
    lease(2, [3, 4], 3, 4_000, 8_000);
    // Cut at its end, as engines evict.
    expect([shared(2, [1, 2], 4), shared(2, [3, 4], 4)]).toEqual([1, 2]);
  });
});

it("remembers a bounded number of paths, and finds what a plain comparison of all of them finds", () => {
  const few = fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 6 });
  // Cumulative, as chains are: a segment's hash tells all before it.
  const cumulative = (path: number[]) => path.map((_, at) => path.slice(0, at + 1).reduce((sum, part) => sum * 4 + part, 0));
  fc.assert(
    fc.property(fc.array(few, { maxLength: 30 }), few, fc.nat(3), (prompts, asked, known) => {
      const { lease, shared } = rig();
      for (const prompt of prompts) lease(0, cumulative(prompt), 0, 1, 1e9);
      const wanted = cumulative(asked);
      const from = Math.min(known, wanted.length);
      const best = Math.max(
        from,
        ...prompts
          .map((prompt) => cumulative(prompt).findIndex((each, at) => each !== wanted[at]))
          .map((at, n) => Math.min(at === -1 ? (prompts[n]?.length ?? 0) : at, wanted.length)),
      );
      expect(shared(0, wanted, 0, from)).toBe(best);
    }),
    { seed: 43, numRuns: 300 },
  );
  const { lease, paths } = rig();
  for (let n = 1; n < MOST_PATHS + 9; n++) lease(1, [n], 0, 1, 1e9);
  expect(paths.count(1)).toBe(MOST_PATHS);
});

describe("the place of a predicted segment", () => {
  const path = { segments: 3, promptTokens: 1_000, promptBytes: 4_000, length: 9 };

  it("is its share of the prompt, from what is known of it on", () => {
    expect(predictedTokensAt(path, { segments: 0, tokens: 0 }, [])).toBe(315);
    expect(predictedTokensAt(path, { segments: 2, tokens: 150 }, [])).toBe(263);
    expect(predictedTokensAt(path, { segments: 5, tokens: 600 }, [])).toBe(315);
  });

  it("is the schedule's where the chain was cut by it", () => {
    const ends = [...segmentEnds(DEFAULT_SCHEDULE, 100_000)];
    const cut = { segments: 16, promptTokens: 2_000, promptBytes: 8_000, length: 19 };
    expect(ends[15]).toBe(4_096);
    expect(predictedTokensAt(cut, { segments: 0, tokens: 0 }, ends)).toBe(1_024);
  });
});
