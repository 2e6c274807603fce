import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decide } from "../../../src/decision/decide.ts";
import type { CandidateView, Profile } from "../../../src/decision/decision.ts";
import { LEAST_PULLED_TOKENS } from "../../../src/decision/transfer-cost.ts";
import { CACHE_AWARE, PROFILES } from "../../../src/decision/profiles.ts";
import { anyDraw, anyRequest, anyView, candidate, RATES, request, viewOf } from "./views.ts";

const decoder = (slot: number, extra: Partial<CandidateView> = {}) => candidate(slot, { transfers: true, decodeOnly: true, ...extra });
const prefiller = (slot: number, extra: Partial<CandidateView> = {}) =>
  candidate(slot, { transfers: true, eligible: false, prefills: true, ...extra });

describe("tiers", () => {
  it("load what lies lower where that is quicker, and say so", () => {
    const held = candidate(0, { cachedTokens: 1_000, deviceTokens: 400 });
    const decision = decide(viewOf([held]), request(1_200), CACHE_AWARE, 0, 0);
    // 200 computed at 0.05, 600 loaded at 0.01.
    expect(decision.candidates[0]).toMatchObject({ uncachedTokens: 200, loadedTokens: 600, terms: { prefillMs: 10, loadMs: 6 } });
    expect(decision.candidates[0]?.predictedTtftMs).toBe(16);
    expect(decision.reason).toContain("holds 1,000 of ~1,200 prompt tokens (600 of them on lower tiers, loaded in 6 ms)");
  });

  it("compute what would load more slowly", () => {
    const slow = candidate(0, { cachedTokens: 1_000, deviceTokens: 400, rates: { ...RATES, loadMsPerToken: 0.2 } });
    const decision = decide(viewOf([slow]), request(1_200), CACHE_AWARE, 0, 0);
    expect(decision.candidates[0]).toMatchObject({ uncachedTokens: 800, loadedTokens: 0, terms: { prefillMs: 40, loadMs: 0 } });
    expect(decision.reason).toContain("(600 of them on lower tiers, sooner computed than loaded)");
  });

  it("prefer the device to a lower tier, and a lower tier to nothing", () => {
    const disk = candidate(0, { cachedTokens: 1_000, deviceTokens: 0 });
    const device = candidate(1, { cachedTokens: 1_000 });
    expect(decide(viewOf([disk, device]), request(1_200), CACHE_AWARE, 0, 0).chosen).toBe(1);
    expect(decide(viewOf([disk, candidate(1)]), request(1_200), CACHE_AWARE, 0.99, 0).chosen).toBe(0);
  });
});

describe("roles", () => {
  it("send no request to a replica that only prefills", () => {
    const decision = decide(viewOf([prefiller(0, { cachedTokens: 900 })]), request(1_000), CACHE_AWARE, 0, 0);
    expect(decision).toMatchObject({ chosen: null, outcome: "none-eligible", candidates: [{ barred: "prefill only" }] });
  });

  it("prefill elsewhere from the threshold on, where it would be done first", () => {
    const candidates = [decoder(0), prefiller(1, { queuedPrefillMs: 90, inFlight: 2 }), prefiller(2, { queuedPrefillMs: 20, inFlight: 1 })];
    const decision = decide(viewOf(candidates, { remotePrefillTokens: 512 }), request(1_000), CACHE_AWARE, 0, 0);
    expect(decision.transfer).toMatchObject({ kind: "prefill", replica: 2, tokens: 1_000, senderMs: 70, senderWorkMs: 50, receiverMs: 20 });
    expect(decision.reason).toContain("; replica-2 prefills the 1,000 missing (70 ms, and 20 ms to move them)");
    const warm = [decoder(0), prefiller(1, { cachedTokens: 900, queuedPrefillMs: 10 }), prefiller(2)];
    expect(decide(viewOf(warm, { remotePrefillTokens: 512 }), request(1_000), CACHE_AWARE, 0, 0).transfer?.replica).toBe(1);
  });

  it.each<[string, CandidateView[], number | null, number]>([
    ["below it", [decoder(0), prefiller(1)], 512, 511],
    ["when it is never", [decoder(0), prefiller(1)], null, 9_000],
    ["with no prefill replica", [decoder(0), decoder(1)], 512, 9_000],
    ["with a full one", [decoder(0), prefiller(1, { inFlight: 16 })], 512, 9_000],
    ["for a replica that can't fetch", [candidate(0), prefiller(1)], 512, 9_000],
    ["when all but the end is held", [decoder(0, { cachedTokens: 8_400 }), prefiller(1)], 512, 9_000],
  ])("prefill at home %s", (_when, candidates, remotePrefillTokens, tokens) => {
    expect(decide(viewOf(candidates, { remotePrefillTokens }), request(tokens), CACHE_AWARE, 0, 0).transfer).toBeNull();
  });

  it("are left aside when the prefill replica won't start soon and the decoder itself is predicted cheaper", () => {
    const at = (queuedPrefillMs: number, own = 0) =>
      decide(
        viewOf([decoder(0, { queuedPrefillMs: own }), prefiller(1, { queuedPrefillMs })], { remotePrefillTokens: 512 }),
        request(4_000),
        CACHE_AWARE,
        0,
        0,
      ).transfer?.kind;
    // Its hold is 800 ms.
    expect([at(0), at(799), at(800), at(5_000)]).toEqual(["prefill", "prefill", undefined, undefined]);
    expect([at(900, 2_000), at(5_000, 2_000)]).toEqual(["prefill", undefined]);
  });

  it("look at the two prefill replicas that would be done first, and at no third one", () => {
    // A replica starts soon while its queue is shorter than its hold; the decoder prefers one that does, among those looked at.
    const late = (slot: number, queuedPrefillMs: number) => prefiller(slot, { queuedPrefillMs });
    const soon = (slot: number, queuedPrefillMs: number) => prefiller(slot, { queuedPrefillMs, holdMs: 2_000 });
    const sender = (...senders: CandidateView[]) => {
      const view = viewOf([decoder(0, { queuedPrefillMs: 5_000 }), ...senders], { remotePrefillTokens: 512 });
      return decide(view, request(4_000), CACHE_AWARE, 0, 0).transfer?.replica;
    };
    expect(sender(late(1, 900), soon(2, 1_000))).toBe(2);
    expect(sender(late(1, 900), late(2, 950), soon(3, 1_000))).toBe(1);
  });

  it("of two prefill replicas that cost the same, use the one with fewer requests in flight, whatever their order and the profile", () => {
    const sender = (profile: Profile, ...inFlight: number[]) => {
      const senders = inFlight.map((many, at) => prefiller(at + 1, { inFlight: many }));
      return decide(viewOf([decoder(0), ...senders], { remotePrefillTokens: 512 }), request(4_000), profile, 0, 0).transfer?.replica;
    };
    for (const profile of Object.values(PROFILES)) {
      expect(sender(profile, 3, 1)).toBe(2);
      expect(sender(profile, 1, 3)).toBe(1);
      expect(sender(profile, 2, 2)).toBe(1);
    }
  });

  it("fetch nothing for a count, nor from a replica that failed the request", () => {
    const view = viewOf([decoder(0), prefiller(1)], { remotePrefillTokens: 512 });
    expect(decide(view, request(1_000, { counts: true }), CACHE_AWARE, 0, 0).transfer).toBeNull();
    expect(decide(view, request(1_000, { excluded: [1] }), CACHE_AWARE, 0, 0).transfer).toBeNull();
  });
});

describe("a pull", () => {
  const busy = { inFlight: 7, queuedPrefillMs: 4_000 };

  it("from who holds the most in memory, when that beats computing", () => {
    const candidates = [
      decoder(0, { cachedTokens: 100 }),
      decoder(1, { ...busy, cachedTokens: 1_100 }),
      decoder(2, { ...busy, cachedTokens: 900 }),
    ];
    const decision = decide(viewOf(candidates), request(1_500), CACHE_AWARE, 0, 0);
    expect(decision).toMatchObject({ chosen: 0, transfer: { kind: "pull", replica: 1, tokens: 1_000, transferMs: 20, insteadOfMs: 50 } });
    // 1,400 to compute at 0.05, 1,000 of which come at 0.02.
    expect(decision.transfer?.receiverMs).toBeCloseTo(40, 9);
    expect(decision.reason).toContain("; pulls 1,000 more from replica-1 (20 ms instead of 50 ms)");
  });

  it.each<[string, Partial<CandidateView>, Partial<CandidateView>]>([
    ["too little", {}, { cachedTokens: LEAST_PULLED_TOKENS }],
    ["what lies on disk", {}, { cachedTokens: 1_100, memoryTokens: 200 }],
    ["what a replica that can't send holds", {}, { cachedTokens: 1_100, transfers: false }],
    ["what a replica that is not ready holds", {}, { cachedTokens: 1_100, eligible: false }],
    ["more slowly than it computes", { rates: { ...RATES, transferMsPerToken: 0.05 } }, { cachedTokens: 1_100 }],
  ])("not %s", (_what, own, other) => {
    const decision = decide(viewOf([decoder(0, own), decoder(1, { ...busy, ...other })]), request(1_500), CACHE_AWARE, 0, 0);
    expect(decision).toMatchObject({ chosen: 0, transfer: null });
  });

  it("to another replica than is cheapest without gains a tenth and a booking; to that one it needs not", () => {
    const rates = { ...RATES, transferMsPerToken: 0.002 };
    const both = (slot: number, extra: Partial<CandidateView>) =>
      candidate(slot, { transfers: true, rates, kvTokens: 10_000_000, ...extra });
    const at = (queuedPrefillMs: number) =>
      decide(
        viewOf([both(0, { cachedTokens: 6_000, queuedPrefillMs }), both(1, { queuedPrefillMs: 60 })]),
        request(6_500),
        CACHE_AWARE,
        0,
        0,
      );
    const [holder, other] = at(240).candidates;
    expect(holder?.cost).toBeLessThan(other?.cost ?? 0);
    // It would cost 247 there, 385 without: 18 less than the 265 of the holder, then 78 less than its 325.
    expect(at(240)).toMatchObject({ chosen: 0, transfer: null });
    expect(at(300)).toMatchObject({ chosen: 1, transfer: { kind: "pull" } });
    const little = decide(viewOf([both(0, { cachedTokens: 700, ...busy }), both(1, {})]), request(1_000), CACHE_AWARE, 0, 0);
    const { cost = 0, plannedCost = 0 } = little.candidates[1] ?? {};
    expect(little).toMatchObject({ chosen: 1, transfer: { kind: "pull" } });
    expect(cost - plannedCost).toBeLessThan(40);
  });

  it("comes before a remote prefill when little is missing after it", () => {
    const candidates = [decoder(0), decoder(1, { ...busy, cachedTokens: 1_200 }), prefiller(2)];
    const view = viewOf(candidates, { remotePrefillTokens: 512 });
    expect(decide(view, request(1_500), CACHE_AWARE, 0, 0).transfer).toMatchObject({ kind: "pull", replica: 1 });
    expect(decide(view, request(1_800), CACHE_AWARE, 0, 0).transfer).toMatchObject({ kind: "prefill", replica: 2 });
  });
});

describe("elastic roles", () => {
  const both = (slot: number, extra: Partial<CandidateView> = {}) => candidate(slot, { transfers: true, ...extra });
  const ELASTIC = { remotePrefillTokens: 512 };

  it("compute at home where nothing is gained elsewhere", () => {
    for (const candidates of [
      [both(0), both(1)],
      [both(0, { inFlight: 6 }), both(1, { inFlight: 6 })],
      [both(0, { queuedPrefillMs: 500 }), both(1)],
    ]) {
      const decision = decide(viewOf(candidates, ELASTIC), request(8_000), CACHE_AWARE, 0, 0);
      expect(decision.transfer).toBeNull();
    }
  });

  it("prices a prefill elsewhere by what it does to both", () => {
    const candidates = [
      both(0, { inFlight: 20, sequences: 64, queuedPrefillMs: 3_000, liveKvTokens: 10_000, kvTokens: 400_000 }),
      candidate(1, { transfers: true, eligible: false, prefills: true, queuedPrefillMs: 50, kvTokens: 400_000 }),
    ];
    const decision = decide(viewOf(candidates, ELASTIC), request(8_000), CACHE_AWARE, 0, 0);
    const [own, there] = decision.candidates;
    expect(decision.transfer).toMatchObject({ kind: "prefill", replica: 1, senderMs: 450, transferMs: 160 });
    const { terms } = own ?? {};
    const price = 50 + 400 + 160 + (there?.terms.stallMs ?? NaN) + (there?.terms.displacementMs ?? NaN) + (terms?.displacementMs ?? NaN);
    expect(own?.plannedCost).toBeCloseTo(price + (terms?.decodeMs ?? NaN), 6);
    expect(own?.cost).toBeGreaterThan(own?.plannedCost ?? Infinity);
  });

  it("is never chosen below the floor, nor where it gains less than a tenth or two bookings", () => {
    const busy = { inFlight: 8, sequences: 64, kvTokens: 400_000 };
    const helper = candidate(1, { transfers: true, eligible: false, prefills: true, kvTokens: 400_000 });
    const kind = (queuedPrefillMs: number, tokens: number) =>
      decide(viewOf([both(0, { ...busy, queuedPrefillMs }), helper], ELASTIC), request(tokens), CACHE_AWARE, 0, 0).transfer?.kind;
    expect([kind(3_000, 511), kind(3_000, 512), kind(0, 600), kind(0, 8_000)]).toEqual([undefined, "prefill", undefined, "prefill"]);
  });

  it("never costs more than the best without, whatever the view", () => {
    fc.assert(
      fc.property(anyView, anyRequest, anyDraw, (view, asked, draw) => {
        const elastic = { ...view, candidates: view.candidates.map((each) => ({ ...each, decodeOnly: false })) };
        const without = decide({ ...elastic, remotePrefillTokens: null }, asked, CACHE_AWARE, draw, 0);
        const decision = decide(elastic, asked, CACHE_AWARE, draw, 0);
        expect(decision.chosen === null).toBe(without.chosen === null);
        if (decision.chosen === null || without.chosen === null) return;
        const cost = decision.candidates[decision.chosen]?.plannedCost ?? Infinity;
        const best = without.candidates[without.chosen]?.plannedCost ?? -Infinity;
        if (decision.transfer?.kind === "prefill") expect(cost).toBeLessThanOrEqual(0.9 * best);
        else expect(cost).toBe(best);
      }),
      { seed: 61, numRuns: 500 },
    );
  });
});

describe("a hot prefix", () => {
  it("is pulled to a second replica once the holder's queue costs more than the transfer and what the copy evicts", () => {
    const at = (queuedPrefillMs: number) => {
      const holder = candidate(0, { transfers: true, cachedTokens: 6_000, queuedPrefillMs });
      return decide(viewOf([holder, candidate(1, { transfers: true })]), request(6_500), CACHE_AWARE, 0, 0);
    };
    expect(at(0)).toMatchObject({ chosen: 0, transfer: null });
    expect(at(500)).toMatchObject({ chosen: 1, transfer: { kind: "pull", replica: 0, tokens: 6_000 } });
  });
});

it("whatever the view: the sender is another ready replica that may send, and every number is one", () => {
  fc.assert(
    fc.property(anyView, anyRequest, fc.constantFrom(...Object.values(PROFILES)), anyDraw, (view, asked, profile, draw) => {
      const { chosen, transfer, reason } = decide(view, asked, profile, draw, 0);
      if (transfer === null) return;
      expect(chosen).not.toBeNull();
      expect(asked.counts).not.toBe(true);
      const sender = view.candidates[transfer.replica];
      expect(sender?.replica).not.toBe(chosen);
      expect(asked.excluded).not.toContain(transfer.replica);
      expect(sender?.transfers && (sender.eligible || sender.prefills)).toBe(true);
      if (transfer.kind === "prefill") expect(view.remotePrefillTokens).not.toBeNull();
      for (const value of Object.values(transfer)) if (typeof value === "number") expect(value >= 0 && Number.isFinite(value)).toBe(true);
      expect(reason).not.toMatch(/NaN|undefined|Infinity/);
    }),
    { seed: 31, numRuns: 1_000 },
  );
});
