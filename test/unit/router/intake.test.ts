import type { ResidencyFrame } from "../../../src/pool/frames.ts";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createSegmentIndex } from "../../../src/residency/typed-array-index.ts";
import { AnnounceIntake } from "../../../src/router/intake.ts";
import { PoolState } from "../../../src/router/state.ts";
import { hashes } from "../residency/hashes.ts";

const SLOT = 0;
type Entry = ResidencyFrame["entries"][number];

function joined(): { state: PoolState; intake: AnnounceIntake } {
  const state = new PoolState(createSegmentIndex({}));
  const intake = new AnnounceIntake(state);
  const capacity = { sequences: 2, kvTokens: 1_000, blockTokens: 16, contextTokens: 1_000, queueLimit: 1 };
  const identity = { name: "r0", epoch: 1, url: "http://r0", roles: ["decode"] as const, model: "m", specFingerprint: "v1" };
  intake.membership({ kind: "hello", hello: { ...identity, capacity }, connection: 1, admitted: true }, 0);
  return { state, intake };
}

const entry = (hash: number, tierBits = 1): Entry => ({ hash: BigInt(hash), tokens: hash * 64, tierBits });
const delta = (seq: number, ...entries: Entry[]): ResidencyFrame => ({ kind: "delta", first: true, last: true, seq, entries });
const part = (seq: number, ends: "first" | "last" | "middle", ...entries: Entry[]): ResidencyFrame => ({
  kind: "full",
  first: ends === "first",
  last: ends === "last",
  seq,
  entries,
});
const heldBy = (state: PoolState) => [...state.index.entries(SLOT)].map(({ hash }) => Number(hash)).toSorted((a, b) => a - b);
const said = (seq: number, entries: number) => ({ seq, entries, load: { usedKvTokens: 0 }, running: [] });

describe("residency", () => {
  it("applies frames in turn, ignores repeats and asks once a second for what is missing", () => {
    const { state, intake } = joined();
    expect(intake.residency(SLOT, delta(1, entry(1)), 0)).toBeNull();
    expect(intake.residency(SLOT, delta(1, entry(9)), 1)).toBeNull();
    expect(intake.residency(SLOT, delta(3, entry(3)), 2)).toEqual({ afterSeq: 1 });
    expect(intake.residency(SLOT, delta(4, entry(4)), 500)).toBeNull();
    expect(intake.residency(SLOT, delta(5, entry(5)), 1_002)).toEqual({ afterSeq: 1 });
    for (const seq of [2, 3, 4, 5]) expect(intake.residency(SLOT, delta(seq, entry(seq)), 1_003)).toBeNull();
    expect(heldBy(state)).toEqual([1, 2, 3, 4, 5]);
    expect(intake.heartbeat(SLOT, 1, said(5, 5), 3_000).need).toBeNull();
    expect(state.counters.resyncs).toBe(2);
  });

  it("asks at a heartbeat for a lost last frame, and for all when the counts differ, once in 30 s", () => {
    const { intake } = joined();
    intake.residency(SLOT, delta(1, entry(1)), 0);
    expect(intake.heartbeat(SLOT, 1, said(2, 2), 10).need).toEqual({ afterSeq: 1 });
    expect(intake.heartbeat(SLOT, 1, said(2, 2), 500).need).toBeNull();
    intake.residency(SLOT, delta(2, entry(2)), 600);
    expect(intake.heartbeat(SLOT, 1, said(2, 3), 1_100).need).toEqual({ afterSeq: null });
    for (let nowMs = 2_100; nowMs < 31_100; nowMs += 1_000) expect(intake.heartbeat(SLOT, 1, said(2, 3), nowMs).need).toBeNull();
    expect(intake.heartbeat(SLOT, 1, said(2, 3), 31_100).need).toEqual({ afterSeq: null });
  });

  it("does not mix the parts of two full resyncs", () => {
    const { state, intake } = joined();
    intake.residency(SLOT, part(5, "first", entry(1)), 0);
    intake.residency(SLOT, part(6, "first", entry(2)), 10);
    expect(intake.residency(SLOT, part(5, "last", entry(3)), 2_000)).toEqual({ afterSeq: null });
    expect(heldBy(state)).toEqual([2]);
    expect(intake.seqOf(SLOT)).toBe(0);
    expect(intake.residency(SLOT, part(6, "last", entry(4)), 2_010)).toBeNull();
    expect([heldBy(state), intake.seqOf(SLOT)]).toEqual([[2, 4], 6]);
  });

  it("does not ask again while a long full resync goes on, and does when it stops", () => {
    const { state, intake } = joined();
    expect(intake.needAfterHello(SLOT, 7, 0)).toEqual({ afterSeq: null });
    intake.residency(SLOT, part(7, "first", entry(1)), 100);
    for (let n = 2; n < 40; n++) {
      intake.residency(SLOT, part(7, "middle", entry(n)), n * 100);
      expect(intake.heartbeat(SLOT, 1, said(7, 40), n * 100 + 50).need).toBeNull();
    }
    expect(intake.heartbeat(SLOT, 1, said(7, 40), 4_950).need).toEqual({ afterSeq: null });
    expect(state.counters.resyncs).toBe(2);
  });

  it("asks for all after a full resync that broke off", () => {
    const { intake } = joined();
    for (const seq of [1, 2, 3]) intake.residency(SLOT, delta(seq, entry(seq)), 0);
    intake.residency(SLOT, part(3, "first", entry(1)), 10);
    expect(intake.needAfterHello(SLOT, 3, 20)).toEqual({ afterSeq: null });
  });
});

describe("an index that had to throw entries out", () => {
  const PLACES = 52_428;
  const HELD = 40_000;
  const capacity = { sequences: 2, kvTokens: 1_000, blockTokens: 16, contextTokens: 1_000, queueLimit: 1 };

  /** Two replicas that hold more than there is room for; each answers what it is asked for at once. */
  function crowded() {
    const state = new PoolState(createSegmentIndex({ maxParts: 1 }));
    const intake = new AnnounceIntake(state);
    const asked: number[] = [];
    const hello = (slot: number, epoch: number): void => {
      const identity = { name: `r${slot}`, epoch, url: `http://r${slot}`, roles: ["decode"] as const, model: "m", specFingerprint: "v1" };
      intake.membership({ kind: "hello", hello: { ...identity, capacity }, connection: slot + 1, admitted: true }, 0);
    };
    const held = [0, 1].map((slot) => [...hashes(HELD, 50 + slot)].map((hash): Entry => ({ ...entry(1), hash })));
    const all = (slot: number): Entry[] => held[slot] ?? [];
    const beat = (slot: number, nowMs: number): void => {
      const { need } = intake.heartbeat(slot, 1, said(1, HELD), nowMs);
      if (need === null) return;
      if (slot === 0) asked.push(nowMs);
      intake.residency(slot, { kind: "full", first: true, last: true, seq: 1, entries: all(slot) }, nowMs);
    };
    for (const slot of [0, 1]) {
      hello(slot, 1);
      intake.residency(slot, { ...delta(1), entries: all(slot) }, 0);
    }
    expect([state.index.places, state.index.size < PLACES, state.index.count(0) < HELD]).toEqual([PLACES, true, true]);
    return { state, intake, asked, beat };
  }

  it("is compared with the replicas again as soon as they fit", () => {
    const { state, intake, asked, beat } = crowded();
    for (let nowMs = 1_000; nowMs <= 60_000; nowMs += 1_000) for (const slot of [0, 1]) beat(slot, nowMs);
    // There is no room for both: nobody is asked, as that would only throw the other's out.
    expect(asked).toEqual([]);
    intake.membership({ kind: "socketClosed", slot: 1, connection: 2 }, 60_000);
    const differed: number[] = [];
    for (let nowMs = 61_000; nowMs <= 600_000; nowMs += 1_000) {
      intake.tick(nowMs);
      beat(0, nowMs);
      if (state.index.count(0) !== HELD) differed.push(nowMs);
    }
    expect(differed.every((atMs) => atMs < 90_000)).toBe(true);
    expect(asked).toHaveLength(1);
  });

  it("asks a replica that counts otherwise at most once in 30 s", () => {
    const { intake, asked } = crowded();
    intake.membership({ kind: "socketClosed", slot: 1, connection: 2 }, 1_000);
    for (let nowMs = 2_000; nowMs <= 200_000; nowMs += 1_000) {
      intake.tick(nowMs);
      if (intake.heartbeat(0, 1, said(1, HELD + 1), nowMs).need !== null) asked.push(nowMs);
    }
    expect(asked.length).toBeGreaterThan(1);
    for (const [nth, atMs] of asked.entries()) if (nth > 0) expect(atMs - (asked[nth - 1] ?? 0)).toBeGreaterThanOrEqual(30_000);
  });
});

describe("what a lease's reports teach", () => {
  const decoding = { event: "decoding", attempt: 1, promptTokens: 1_000, cachedTokens: 500, prefillMs: 100 } as const;
  const moved = { replica: "r1", bytes: 1, tokens: 400 };
  const claim = { attempt: 1, nowMs: 0, promptTokens: 1_000, uncachedTokens: 1_000, predictedMs: 5, salt: "s", replica: SLOT };
  const learnt = ({ rates }: PoolState) => [rates.prefillMsPerToken(SLOT), rates.loadMsPerToken(SLOT), rates.transferMsPerToken(SLOT)];

  it("the time of loads and transfers is not taken for computing", () => {
    const { state, intake } = joined();
    const transfer = { ...moved, kind: "pull", outcome: "used", ms: 40 } as const;
    for (let n = 0; n < 21; n++) {
      state.leases.reserve({ ...claim, id: `a${n}` });
      intake.lease(SLOT, { ...decoding, id: `a${n}`, loadMs: 10, loadedTokens: 100, transfer }, 1_000 * n);
      state.leases.release({ id: `a${n}`, attempt: 1 }, 1_000 * n);
    }
    expect(learnt(state)).toEqual([expect.closeTo(0.1, 2), expect.closeTo(0.1, 1), expect.closeTo(0.1, 1)]);
    expect(state.counters).toMatchObject({ transfersUsed: 21, transfersFallenBack: 0 });
  });

  it("a prompt prefilled elsewhere says nothing of this replica's speed; one that fell back does", () => {
    const { state, intake } = joined();
    for (const id of ["a", "b"]) state.leases.reserve({ ...claim, id });
    intake.lease(SLOT, { ...decoding, id: "a", transfer: { ...moved, kind: "prefill", outcome: "used", ms: 40 } }, 0);
    expect(learnt(state)).toEqual([1, 0.25, 0.02]);
    intake.lease(SLOT, { ...decoding, id: "b", transfer: { ...moved, kind: "prefill", outcome: "fallback", why: "late", ms: 50 } }, 0);
    // A first report moves what is believed at most fourfold.
    expect(learnt(state)).toEqual([expect.closeTo(0.25, 1), expect.closeTo(0.06, 1), 0.02]);
    expect(state.counters).toMatchObject({ transfersUsed: 1, transfersFallenBack: 1 });
  });

  it("a decode teaches its pace beside what ran there, and paths end when they are announced", () => {
    const { state, intake } = joined();
    const reserved = state.leases.reserve({ ...claim, id: "a" });
    if (reserved.kind !== "reserved") throw new Error(reserved.kind);
    state.paths.add(reserved.lease, { chain: BigUint64Array.of(1n, 2n), promptBytes: 4_000, fetched: false }, 1_000, 0);
    intake.lease(SLOT, { ...decoding, id: "a", cachedTokens: 0 }, 100);
    expect(state.paths.count(SLOT)).toBe(1);
    intake.residency(SLOT, delta(1, entry(1), entry(2)), 150);
    expect(state.paths.count(SLOT)).toBe(0);
    const settled = { event: "settled", id: "a", attempt: 1, promptTokens: 1_000, cachedTokens: 0, outputTokens: 101 } as const;
    const cold = state.rates.of(SLOT).decodeMsPerSequence;
    intake.lease(SLOT, { ...settled, decodeMs: 900 }, 1_000);
    expect(state.rates.of(SLOT).decodeMsPerSequence).not.toBe(cold);
    expect(state.rates.of(SLOT).decodeMsPerSequence).toBeLessThan(9.1);
  });

  it("what ran while its replica was silent says nothing of its pace, from reports nor from heartbeats", () => {
    const { state, intake } = joined();
    for (const id of ["decodes", "prefills"]) state.leases.reserve({ ...claim, id });
    intake.lease(SLOT, { ...decoding, id: "decodes", cachedTokens: 0 }, 100);
    const running = (outputTokens: number) => ({ ...said(0, 0), running: [{ id: "decodes", attempt: 1, outputTokens }] });
    intake.heartbeat(SLOT, 1, running(50), 600);
    const known = state.rates.of(SLOT);
    intake.tick(3_700);
    expect(state.membership.replicas[0]?.state).toBe("suspect");
    intake.heartbeat(SLOT, 1, running(60), 9_000);
    intake.lease(SLOT, { ...decoding, id: "prefills", cachedTokens: 0, prefillMs: 8_500 }, 9_100);
    const settled = { event: "settled", attempt: 1, promptTokens: 1_000, cachedTokens: 0, outputTokens: 101 } as const;
    intake.lease(SLOT, { ...settled, id: "decodes", decodeMs: 9_500 }, 9_600);
    expect(state.rates.of(SLOT)).toEqual(known);
    // And from then on it tells again.
    state.leases.reserve({ ...claim, id: "next", nowMs: 10_000 });
    intake.lease(SLOT, { ...decoding, id: "next", cachedTokens: 0, prefillMs: 300 }, 10_300);
    intake.lease(SLOT, { ...settled, id: "next", decodeMs: 2_000 }, 12_300);
    const after = state.rates.of(SLOT);
    expect(after.prefillMsPerToken).toBeGreaterThan(known.prefillMsPerToken);
    expect(after.decodeMsPerStep).not.toBe(known.decodeMsPerStep);
  });

  it("a settled request ends its prefill's lease, and a settled prefill is not counted as a request", () => {
    const { state, intake } = joined();
    for (const id of ["a", "a~prefill", "b", "b~prefill"]) state.leases.reserve({ ...claim, promptTokens: 9, uncachedTokens: 9, id });
    const settled = { event: "settled", attempt: 1, promptTokens: 9, cachedTokens: 0, outputTokens: 0 } as const;
    intake.lease(SLOT, { ...settled, id: "b~prefill" }, 1);
    expect([state.leases.size, state.counters.settled]).toEqual([3, 0]);
    for (const id of ["a", "b"]) intake.lease(SLOT, { ...settled, id }, 2);
    expect([state.leases.size, state.counters.settled, state.counters.promptTokens]).toEqual([0, 2, 18]);
    // Nothing was written: that says nothing of how long answers are.
    expect(state.rates.meanOutputTokens).toBe(256);
  });
});

describe("a link that loses, repeats and reorders", () => {
  const change = fc.record({ hash: fc.integer({ min: 1, max: 20 }), tierBits: fc.integer({ min: 0, max: 3 }) });
  const event = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant("delta" as const), entries: fc.array(change, { minLength: 1, maxLength: 4 }) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("beat" as const) }) },
    {
      weight: 4,
      arbitrary: fc.record({ kind: fc.constant("deliver" as const), at: fc.nat(), fate: fc.constantFrom("once", "twice", "lost") }),
    },
  );

  it("ends in the replica's truth once it is calm", () => {
    fc.assert(
      fc.property(
        fc.array(event, { maxLength: 80 }),
        fc.integer({ min: 0, max: 8 }),
        fc.integer({ min: 1, max: 6 }),
        (events, kept, size) => {
          const { state, intake } = joined();
          const truth = new Map<bigint, Entry>();
          const journal: ResidencyFrame[] = [];
          const wire: ResidencyFrame[] = [];
          let seq = 0;
          let nowMs = 0;
          const answer = (need: { afterSeq: number | null } | null): void => {
            if (need === null) return;
            const after = need.afterSeq;
            const rest = journal.filter((frame) => after !== null && frame.seq > after);
            if (after !== null && rest.length === seq - after) return void wire.push(...rest);
            const all = [...truth.values()];
            for (let at = 0; at === 0 || at < all.length; at += size) {
              const entries = all.slice(at, at + size);
              wire.push({ kind: "full", first: at === 0, last: at + size >= all.length, seq, entries });
            }
          };
          const beat = (): void => answer(intake.heartbeat(SLOT, 1, said(seq, truth.size), (nowMs += 600)).need);
          for (const step of events) {
            if (step.kind === "beat") beat();
            else if (step.kind === "delta") {
              const entries = step.entries.map(({ hash, tierBits }) => entry(hash, tierBits));
              for (const each of entries) {
                if (each.tierBits === 0) truth.delete(each.hash);
                else truth.set(each.hash, each);
              }
              const frame = delta(++seq, ...entries);
              journal.push(frame);
              if (journal.length > kept) journal.shift();
              wire.push(frame);
            } else if (wire.length > 0) {
              const [frame] = wire.splice(step.at % wire.length, 1);
              if (frame === undefined || step.fate === "lost") continue;
              answer(intake.residency(SLOT, frame, (nowMs += 50)));
              if (step.fate === "twice") answer(intake.residency(SLOT, frame, nowMs));
            }
          }
          for (let calm = 0; calm < 12; calm++) {
            // One that counts otherwise is asked again after 30 s.
            if (calm === 8) nowMs += 30_000;
            for (let frame = wire.shift(); frame !== undefined; frame = wire.shift()) answer(intake.residency(SLOT, frame, nowMs));
            beat();
            beat();
          }
          expect(wire).toEqual([]);
          expect(intake.seqOf(SLOT)).toBe(seq);
          expect(new Map([...state.index.entries(SLOT)].map((each) => [each.hash, each]))).toEqual(truth);
        },
      ),
      { seed: 41, numRuns: 600 },
    );
  }, 60_000);
});
