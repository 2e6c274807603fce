import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Reservation } from "../../../src/pool/lease.ts";
import { LeaseBook } from "../../../src/pool/lease-book.ts";
import { liveKvTokens } from "../../../src/pool/load.ts";

const usage = { promptTokens: 100, cachedTokens: 60, outputTokens: 20 };

function reservation(id: string, extra: Partial<Reservation> = {}): Reservation {
  return { id, attempt: 1, replica: 0, nowMs: 0, promptTokens: 100, uncachedTokens: 40, predictedMs: 8, salt: "t", ...extra };
}

const key = (id: string, attempt = 1) => ({ id, attempt });

describe("a lease's life", () => {
  it("reserved, started, decoding, settled; its prefill leaves the queue at the first token", () => {
    const book = new LeaseBook();
    book.reserve(reservation("a"));
    book.reserve(reservation("b", { uncachedTokens: 10, predictedMs: 2 }));
    expect(book.load(0)).toMatchObject({
      inFlight: 2,
      queuedPrefillMs: 10,
      promptTokens: 200,
      uncachedTokens: 50,
    });
    expect(book.started(key("a"), 1)).toBe(true);
    expect(book.load(0).queuedPrefillMs).toBe(10);
    expect(book.decoding(key("a"), 3, 20)).toBe(true);
    expect(book.decoding(key("a"), 2, 21)).toBe(true);
    expect(book.get(key("a"))).toMatchObject({ state: "decoding", firstTokenAtMs: 20, outputTokens: 3 });
    expect(book.load(0)).toMatchObject({ queuedPrefillMs: 2, outputTokens: 3 });
    // Both prompts, as nothing says that they share anything, and what was written.
    expect(liveKvTokens(book.load(0))).toBe(200 + 3);
    expect(book.settle(key("a"), usage, 30)).toMatchObject({ kind: "ended", lease: { state: "settled", usage } });
    expect(book.load(0)).toMatchObject({ inFlight: 1, queuedPrefillMs: 2, promptTokens: 100, uncachedTokens: 10, outputTokens: 0 });
  });

  it("knows what ran beside it since its first token: means over that time, itself included", () => {
    const book = new LeaseBook();
    for (const id of ["a", "b", "c"]) book.reserve(reservation(id, { promptTokens: id === "b" ? 300 : 100 }));
    expect(book.besides(key("a"), 5)).toBeNull();
    book.started(key("a"), 1);
    expect(book.prefilling(0)).toBe(1);
    book.decoding(key("a"), 1, 100);
    expect([book.prefilling(0), book.besides(key("a"), 100)]).toEqual([0, null]);
    book.decoding(key("b"), 1, 120);
    book.settle(key("b"), usage, 180);
    // One for 100 ms, two for 60 of them, with a token of their answers each; b's prefill was done meanwhile.
    const besides = book.besides(key("a"), 200);
    expect(besides).toMatchObject({ sequences: 1.6, prefilledMs: 8 });
    expect(besides?.contextTokens).toBeCloseTo(281.6, 9);
    const { changes } = book;
    book.settle(key("a"), usage, 200);
    expect(book.changes).toBe(changes + 1);
    expect(book.besides(key("a"), 300)).toBeNull();
  });

  it("grows by what heartbeats say was written, and what it wrote goes with it", () => {
    const book = new LeaseBook();
    for (const id of ["a", "b"]) book.reserve(reservation(id));
    book.decoding(key("a"), 1, 10);
    const named = [
      { ...key("a"), outputTokens: 50 },
      // No first token was reported yet.
      { ...key("b"), outputTokens: 7 },
    ];
    book.heartbeat(0, named, 20);
    expect(book.load(0)).toMatchObject({ outputTokens: 50, decodingTokens: 150 });
    book.heartbeat(0, [{ ...key("a"), outputTokens: 40 }, key("b")], 30);
    expect(book.load(0)).toMatchObject({ outputTokens: 50, decodingTokens: 150 });
    book.settle(key("a"), usage, 40);
    expect(book.load(0)).toMatchObject({ outputTokens: 0, decoding: 0, decodingTokens: 0 });
  });

  it("weighs nothing when nobody has taken it up for long, and again when somebody does", () => {
    const book = new LeaseBook();
    book.reserve(reservation("a"));
    book.reserve(reservation("b"));
    book.started(key("b"), 1);
    const { changes } = book;
    expect(book.nextDeadlineMs()).toBe(1_500);
    expect(book.expire(1_499)).toEqual([]);
    expect(book.load(0).inFlight).toBe(2);
    expect(book.expire(1_500)).toEqual([]);
    expect(book.load(0)).toMatchObject({ inFlight: 1, queuedPrefillMs: 8, promptTokens: 100 });
    expect(book.changes).toBeGreaterThan(changes);
    expect(book.nextDeadlineMs()).toBe(5_000);
    book.heartbeat(0, [key("a"), key("b")], 1_600);
    expect(book.load(0)).toMatchObject({ inFlight: 2, queuedPrefillMs: 16 });
    book.release(key("a"), 1_700);
    book.release(key("b"), 1_700);
    expect(book.load(0)).toMatchObject({ inFlight: 0, queuedPrefillMs: 0, promptTokens: 0, uncachedTokens: 0 });
  });

  it("ends in doubt as it would have, and takes nothing twice", () => {
    const book = new LeaseBook();
    book.reserve(reservation("a"));
    book.reserve(reservation("b"));
    book.decoding(key("b"), 1, 10);
    book.expire(2_000);
    expect(book.expire(5_000)).toMatchObject([{ id: "a", state: "expired" }]);
    expect(book.load(0)).toMatchObject({ inFlight: 1, promptTokens: 100 });
    book.reserve(reservation("c", { nowMs: 5_000 }));
    book.expire(7_000);
    expect(book.load(0).inFlight).toBe(1);
    // A report that comes late is one of a lease that lives.
    book.decoding(key("c"), 1, 7_100);
    expect(book.load(0)).toMatchObject({ inFlight: 2, decoding: 2, queuedPrefillMs: 0 });
  });

  it("every step may come twice", () => {
    const book = new LeaseBook();
    book.reserve(reservation("a"));
    expect(book.reserve(reservation("a")).kind).toBe("repeated");
    expect(book.load(0).inFlight).toBe(1);
    expect(book.release(key("a"), 1).kind).toBe("ended");
    expect(book.release(key("a"), 2).kind).toBe("repeated");
    expect(book.reserve(reservation("a")).kind).toBe("over");
    expect(book.started(key("a"), 1)).toBe(false);
    expect(book.decoding(key("a"), 1, 3)).toBe(false);
    expect(book.settle(key("a"), usage, 4).kind).toBe("late");
    expect(book.settle(key("a"), usage, 5).kind).toBe("repeated");
    expect(book.settle(key("never"), usage, 5).kind).toBe("unknown");
    expect(book.release(key("never"), 5).kind).toBe("unknown");
    expect(book.reserve(reservation("a", { attempt: 2 })).kind).toBe("reserved");
  });

  it("is bounded: the next one is refused, ended ones are forgotten, oldest first", () => {
    const book = new LeaseBook(2);
    for (const id of ["a", "b"]) book.reserve(reservation(id));
    expect(book.reserve(reservation("c"))).toMatchObject({ kind: "refused", reason: "2 leases are live already" });
    for (const id of ["a", "b"]) book.release(key(id), 1);
    book.reserve(reservation("c"));
    book.release(key("c"), 2);
    expect(book.get(key("a"))).toBeUndefined();
    expect(book.get(key("c"))?.state).toBe("released");
    expect(() => book.reserve(reservation("d", { replica: 64 }))).toThrow(RangeError);
  });
});

describe("death", () => {
  it("5 s after the dispatch when it is still reserved", () => {
    const book = new LeaseBook();
    book.reserve(reservation("a", { nowMs: 1_000 }));
    book.reserve(reservation("b", { nowMs: 1_000 }));
    book.started(key("b"), 1);
    // In doubt before.
    expect(book.nextDeadlineMs()).toBe(2_500);
    expect(book.expire(5_999)).toEqual([]);
    expect(book.nextDeadlineMs()).toBe(6_000);
    expect(book.expire(6_000).map((lease) => lease.id)).toEqual(["a"]);
    expect(book.nextDeadlineMs()).toBeNull();
    expect(book.load(0).inFlight).toBe(1);
  });

  it("when two heartbeats in a row omit it after its replica took it up, by whatever word, not before", () => {
    const book = new LeaseBook();
    book.reserve(reservation("a"));
    for (let n = 0; n < 5; n++) expect(book.heartbeat(0, [], n)).toEqual([]);
    book.heartbeat(0, [key("a"), key("unknown")], 6);
    expect(book.get(key("a"))?.state).toBe("started");
    expect(book.heartbeat(0, [], 7)).toEqual([]);
    book.heartbeat(0, [key("a")], 8);
    expect(book.heartbeat(0, [], 9)).toEqual([]);
    expect(book.heartbeat(1, [key("a")], 9)).toEqual([]);
    expect(book.heartbeat(0, [], 10)).toMatchObject([{ id: "a", state: "expired" }]);
    for (const id of ["started", "decoding"]) book.reserve(reservation(id));
    book.started(key("started"), 11);
    book.decoding(key("decoding"), 1, 11);
    expect(book.heartbeat(0, [], 12)).toEqual([]);
    expect(book.heartbeat(0, [], 13).map(({ id }) => id)).toEqual(["started", "decoding"]);
  });

  it("3 s after its replica was lost, unless it recovers", () => {
    const book = new LeaseBook();
    book.reserve(reservation("a"));
    book.started(key("a"), 1);
    book.replicaLost(0, 100);
    book.replicaLost(0, 900);
    book.replicaRecovered(0);
    expect(book.expire(9_000)).toEqual([]);
    book.replicaLost(0, 9_000);
    expect(book.expire(11_999)).toEqual([]);
    expect(book.expire(12_000)).toHaveLength(1);
    expect(book.size).toBe(0);
  });

  it("when its replica came back and does not run it; what it runs without a lease is named", () => {
    const book = new LeaseBook();
    for (const id of ["running", "gone", "on its way"]) book.reserve(reservation(id));
    book.heartbeat(0, [key("running"), key("gone")], 1);
    book.replicaLost(0, 2);
    const { expired, unknown } = book.reconcile(0, [key("running"), key("ghost")], 3);
    expect(expired.map((lease) => lease.id)).toEqual(["gone"]);
    expect(unknown).toEqual([key("ghost")]);
    expect(book.expire(4_999)).toEqual([]);
    expect(book.expire(5_000).map((lease) => lease.id)).toEqual(["on its way"]);
    expect(book.forgetReplica(0, 6_000).map((lease) => lease.id)).toEqual(["running"]);
  });
});

describe("sums per replica", () => {
  type Op = {
    kind: "reserve" | "decoding" | "settle" | "release" | "expire" | "lost" | "heartbeat";
    n: number;
    replica: number;
    amount: number;
  };
  const op: fc.Arbitrary<Op> = fc.record({
    kind: fc.constantFrom("reserve", "reserve", "reserve", "decoding", "settle", "release", "expire", "lost", "heartbeat"),
    n: fc.integer({ min: 0, max: 12 }),
    replica: fc.integer({ min: 0, max: 2 }),
    amount: fc.integer({ min: 1, max: 500 }),
  });

  function apply(book: LeaseBook, { kind, n, replica, amount }: Op, nowMs: number): void {
    const id = `r${n}`;
    if (kind === "reserve")
      book.reserve(reservation(id, { replica, nowMs, promptTokens: 500, uncachedTokens: amount, predictedMs: amount / 7 }));
    else if (kind === "decoding") book.decoding(key(id), amount, nowMs);
    else if (kind === "settle") book.settle(key(id), usage, nowMs);
    else if (kind === "release") book.release(key(id), nowMs);
    else if (kind === "expire") book.expire(nowMs);
    else if (kind === "lost") book.replicaLost(replica, nowMs);
    else book.heartbeat(replica, amount % 2 === 0 ? [key(id)] : [], nowMs);
  }

  it("are what the live leases add up to that are not in doubt, whatever happened", () => {
    fc.assert(
      fc.property(fc.array(op, { maxLength: 80 }), (ops) => {
        const book = new LeaseBook(6);
        let nowMs = 0;
        for (const step of ops) {
          apply(book, step, (nowMs += 700));
          for (let replica = 0; replica < 3; replica++) {
            const leases = [...book.leasesOf(replica)].filter(({ doubted }) => !doubted);
            const sum = (of: (lease: (typeof leases)[number]) => number): number => leases.reduce((total, lease) => total + of(lease), 0);
            const load = book.load(replica);
            expect(load.inFlight).toBe(leases.length);
            expect(load.promptTokens).toBe(sum((lease) => lease.promptTokens));
            expect(load.uncachedTokens).toBe(sum((lease) => lease.uncachedTokens));
            expect(load.outputTokens).toBe(sum((lease) => lease.outputTokens));
            expect(load.queuedPrefillMs).toBeCloseTo(
              sum((lease) => (lease.firstTokenAtMs === null ? lease.predictedMs : 0)),
              6,
            );
            expect(load.unchainedTokens).toBe(sum((lease) => (lease.uncachedTokens > 0 ? lease.promptTokens : 0)));
          }
        }
      }),
      { seed: 13, numRuns: 200 },
    );
  });
});
