import type { LeaseReport } from "../../../src/pool/frames.ts";
import { describe, expect, it } from "vitest";
import { MOST_QUEUED, MOST_SEQUENCES } from "../../../src/pool/capacity.ts";
import { MAX_LEASES } from "../../../src/pool/lease-book.ts";
import { prefillLease } from "../../../src/pool/lease.ts";
import { createSegmentIndex } from "../../../src/residency/typed-array-index.ts";
import { AnnounceIntake } from "../../../src/router/intake.ts";
import { PoolState } from "../../../src/router/state.ts";

const CAPACITY = { sequences: 2, kvTokens: 10_000, blockTokens: 16, contextTokens: 4_000, queueLimit: 1 };

/** Replicas r0 and r1, in slots 0 and 1. */
function joined(capacity = CAPACITY): { state: PoolState; intake: AnnounceIntake } {
  const state = new PoolState(createSegmentIndex({}));
  const intake = new AnnounceIntake(state);
  for (const [slot, name] of ["r0", "r1"].entries()) {
    const identity = { name, epoch: 1, url: `http://${name}`, roles: ["prefill", "decode"] as const, model: "m", specFingerprint: "v1" };
    intake.membership({ kind: "hello", hello: { ...identity, capacity }, connection: slot, admitted: true }, 0);
  }
  return { state, intake };
}

function leased(state: PoolState, id: string, replica = 0): void {
  const claim = { promptTokens: 1_000, uncachedTokens: 1_000, predictedMs: 100, salt: "s", nowMs: 0 };
  expect(state.leases.reserve({ ...claim, id, attempt: 1, replica }).kind).toBe("reserved");
}

const first = (id: string, more: object = {}): LeaseReport => ({
  event: "decoding",
  id,
  attempt: 1,
  promptTokens: 1_000,
  cachedTokens: 0,
  prefillMs: 100,
  ...more,
});
const settled = (id: string, more: object = {}): LeaseReport => ({
  event: "settled",
  id,
  attempt: 1,
  promptTokens: 1_000,
  cachedTokens: 0,
  outputTokens: 100,
  decodeMs: 900,
  ...more,
});
const beats = (intake: AnnounceIntake, slot: number, fromMs: number, untilMs: number): void => {
  for (let nowMs = fromMs; nowMs <= untilMs; nowMs += 1_000)
    intake.heartbeat(slot, 1, { seq: 0, entries: 0, load: { usedKvTokens: 0 }, running: [] }, nowMs);
};

describe("a lease that no heartbeat names", () => {
  it.each<[string, (intake: AnnounceIntake) => void]>([
    ["started", (intake) => intake.lease(0, { event: "started", id: "a", attempt: 1 }, 10)],
    ["decoding", (intake) => intake.lease(0, first("a"), 10)],
  ])("ends after two omissions when it was reported %s", (_what, report) => {
    const { state, intake } = joined();
    leased(state, "a");
    report(intake);
    beats(intake, 0, 1_000, 2_000);
    expect([state.leases.size, state.counters.expired]).toEqual([0, 1]);
  });

  it("ends after two omissions when it was adopted", () => {
    const { state, intake } = joined();
    expect(intake.reconcile(0, [{ id: "ghost", attempt: 1 }], 0)).toEqual([]);
    expect(state.leases.size).toBe(1);
    beats(intake, 0, 1_000, 2_000);
    expect(state.leases.size).toBe(0);
  });
});

describe("what a replica says of another's lease", () => {
  const steps: LeaseReport[] = [
    { event: "started", id: "a", attempt: 1 },
    { event: "refused", id: "a", attempt: 1 },
    first("a", { prefillMs: 3_600_000 }),
    settled("a"),
  ];
  const ids = ["a", prefillLease({ id: "a", attempt: 1 }).id];

  it("changes nothing, of prefills for others as of requests", () => {
    for (const id of ids) {
      const { state, intake } = joined();
      leased(state, id);
      const before = state.rates.of(1);
      for (const step of steps) intake.lease(1, { ...step, id }, 10);
      expect(state.leases.get({ id, attempt: 1 })).toMatchObject({ state: "reserved", endedAtMs: null });
      expect(state.counters).toMatchObject({ settled: 0, released: 0, promptTokens: 0, strayReports: 4 });
      expect(state.rates.of(1)).toEqual(before);
    }
  });

  it("is not adopted with its hello either: the pool has it cancel the request", () => {
    const { state, intake } = joined();
    leased(state, "a");
    expect(intake.reconcile(1, [{ id: "a", attempt: 1 }], 10)).toEqual([{ id: "a", attempt: 1 }]);
    expect(state.leases.get({ id: "a", attempt: 1 })).toMatchObject({ replica: 0, endedAtMs: null });
  });
});

describe("a report that comes again", () => {
  it("counts once, whether its lease lived, had ended or was never known", () => {
    const { state, intake } = joined();
    for (const id of ["lives", "released"]) leased(state, id);
    state.leases.release({ id: "released", attempt: 1 }, 5);
    for (const id of ["lives", "released", "never"])
      for (let n = 0; n < 3; n++) {
        intake.lease(0, first(id), 100);
        intake.lease(0, settled(id), 1_000);
      }
    expect(state.counters).toMatchObject({ settled: 2, promptTokens: 2_000, outputTokens: 200, strayReports: 6 });
    const once = joined();
    for (const id of ["lives", "released"]) {
      leased(once.state, id);
      if (id === "released") once.state.leases.release({ id, attempt: 1 }, 5);
      once.intake.lease(0, first(id), 100);
      once.intake.lease(0, settled(id), 1_000);
    }
    expect(state.rates.of(0)).toEqual(once.state.rates.of(0));
    expect(state.rates.meanOutputTokens).toBe(once.state.rates.meanOutputTokens);
  });
});

describe("numbers that can't be", () => {
  it("are cut: no more is cached than asked, nor asked than the context holds", () => {
    const { state, intake } = joined();
    leased(state, "a");
    intake.lease(0, settled("a", { promptTokens: 1_000, cachedTokens: 4_000_000_000 }), 10);
    expect(state.counters).toMatchObject({ promptTokens: 1_000, reportedCachedTokens: 1_000, cutReports: 1 });
    leased(state, "b");
    intake.lease(0, settled("b", { promptTokens: 4e9, outputTokens: 4e9 }), 10);
    expect(state.counters).toMatchObject({ promptTokens: 5_000, outputTokens: 100 + 128 * 4_000, cutReports: 2 });
  });

  it.each([Infinity, 1.7e308, 5e-324, 3_600_001, -1, Number.NaN])("a time of %d ms is none, whichever it is, as a first report", (ms) => {
    const transfer = { kind: "pull", replica: "r1", outcome: "used", bytes: 1, tokens: 400 } as const;
    const wild: LeaseReport[] = [
      first("a", { prefillMs: ms }),
      first("a", { loadMs: ms, loadedTokens: 10 }),
      first("a", { transfer: { ...transfer, ms } }),
      settled("a", { decodeMs: ms }),
    ];
    for (const step of wild) {
      const { state, intake } = joined();
      const cold = [state.rates.of(0), state.rates.of(1)];
      leased(state, "a");
      if (step.event === "settled") state.leases.decoding(step, 1, 5);
      intake.lease(0, step, 10);
      // The step itself is taken.
      expect(state.leases.get(step)?.state).toBe(step.event);
      expect([state.rates.of(0), state.rates.of(1)]).toEqual(cold);
      expect(state.counters.cutReports).toBe(1);
    }
  });

  it("teach nothing, not by the numbers beside them either", () => {
    const { state, intake } = joined();
    const learnt = () => [state.rates.of(0), state.rates.bytesPerToken, state.rates.meanOutputTokens, state.rates.knows(1_000)];
    const before = learnt();
    for (let n = 0; n < 20; n++) {
      leased(state, `r${n}`);
      intake.lease(0, first(`r${n}`, { promptTokens: 0xffffffff }), n);
      intake.lease(0, settled(`r${n}`, { promptTokens: 0xffffffff, outputTokens: 5_000 }), n + 1);
    }
    expect(state.counters).toMatchObject({ cutReports: 40, settled: 20 });
    expect(learnt()).toEqual([{ ...state.rates.of(0), prefillMsPerToken: 1 }, ...before.slice(1)]);
  });

  it("a heartbeat's output is no more than a context can hold", () => {
    const { state, intake } = joined();
    leased(state, "a");
    intake.lease(0, first("a"), 10);
    intake.heartbeat(0, 1, { seq: 0, entries: 0, load: { usedKvTokens: 0 }, running: [{ id: "a", attempt: 1, outputTokens: 4e9 }] }, 1_000);
    expect(state.leases.load(0).outputTokens).toBe(128 * 4_000);
  });
});

describe("hellos that name thousands of running requests", () => {
  const named = (slot: number) => Array.from({ length: 4_096 }, (_, n) => ({ id: `${slot}-${n}`, attempt: 1 }));

  it("take as many leases as the replica has places, and the rest is cancelled", () => {
    const { state, intake } = joined();
    expect(intake.reconcile(0, named(0), 0)).toHaveLength(4_093);
    expect(state.leases.count(0)).toBe(3);
    // What it has a lease for already counts.
    expect(intake.reconcile(0, named(0).slice(2), 0)).toHaveLength(4_091);
    expect(state.leases.count(0)).toBe(3);
  });

  it("leave leases to the others, whatever their capacity is said to be", () => {
    const wild = { sequences: 4e9, kvTokens: Infinity, blockTokens: 0, contextTokens: 4e9, queueLimit: 4e9 };
    const { state, intake } = joined(wild);
    for (const slot of [0, 1]) intake.reconcile(slot, named(slot), 0);
    expect(state.leases.size).toBe(2 * (MOST_SEQUENCES + MOST_QUEUED));
    expect(state.leases.size).toBeLessThanOrEqual(MAX_LEASES / 2);
  });
});
