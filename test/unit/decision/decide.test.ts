import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decide } from "../../../src/decision/decide.ts";
import type { CandidateView } from "../../../src/decision/decision.ts";
import { CACHE_AWARE, PROFILES } from "../../../src/decision/profiles.ts";
import { anyDraw, anyRequest, anyView, candidate, RATES, request, viewOf } from "./views.ts";

describe("cache-aware", () => {
  it("goes where the prefix is, and says so with numbers", () => {
    const candidates = [candidate(1), candidate(2, { cachedTokens: 1_824, overlapSegments: 9 })];
    const decision = decide(viewOf(candidates), request(2_300), CACHE_AWARE, 0, 0);
    expect(decision).toMatchObject({ chosen: 1, outcome: "chosen", profile: "cache-aware" });
    expect(decision.reason).toBe(
      "replica-2 holds 1,824 of ~2,300 prompt tokens; predicted 24 ms to first token against 115 ms on replica-1",
    );
  });

  it("leaves the longest overlap when its queue costs more, and states the margin", () => {
    const candidates = [candidate(1), candidate(2, { cachedTokens: 1_824, inFlight: 3, queuedPrefillMs: 400, liveKvTokens: 9_000 })];
    const decision = decide(viewOf(candidates), request(2_300), CACHE_AWARE, 0, 0);
    const [idle, warm] = decision.candidates;
    expect(decision.chosen).toBe(0);
    const margin = Math.round((warm?.cost ?? 0) - (idle?.cost ?? 0));
    expect(decision.reason).toContain(`replica-2 holds 1,824, but its predicted cost is ${margin} ms higher (the queue ahead)`);
  });

  it("adds up the formula", () => {
    const busy = candidate(0, { cachedTokens: 500, inFlight: 4, queuedPrefillMs: 30, liveKvTokens: 49_500 });
    const [scored] = decide(viewOf([busy]), request(1_000), CACHE_AWARE, 0, 0).candidates;
    // p = 0.05 * 500 = 25; theta = 25/200; f = 0.5.
    const terms = {
      queueMs: 30,
      awaitedMs: 0,
      stuckMs: 0,
      prefillMs: 25,
      loadMs: 0,
      stallMs: 12.5,
      displacementMs: 25,
      decodeMs: 0,
      leaveMs: 0,
      inFlight: 4,
      away: 0,
    };
    expect(scored?.terms).toEqual(terms);
    expect(scored?.cost).toBe(92.5);
    expect(scored?.predictedTtftMs).toBe(55);
  });

  it("adds attention, those planned before it, and what decoding there takes", () => {
    const rates = { ...RATES, attentionMsPerPair: 1e-5, decodeMsPerSequence: 0.02, decodeMsPerContextToken: 1e-4 };
    const busy = candidate(0, { cachedTokens: 500, inFlight: 4, contextTokens: 3_000, queuedPrefillMs: 30, plannedMs: 12, rates });
    const [scored] = decide(viewOf([busy]), request(1_000), CACHE_AWARE, 0, 0).candidates;
    // p = 0.05 * 500 + 1e-5 * 500 * (500 + 250); decode = 25 * (2 * 0.02 * 4 + 1e-4 * (3,000 + 4 * 1,000)).
    expect(scored?.terms).toMatchObject({ queueMs: 42, prefillMs: expect.closeTo(28.75, 9), decodeMs: expect.closeTo(21.5, 9) });
  });

  it("finds little peace on an idle replica whose machine is busy", () => {
    const rates = { ...RATES, decodeMsPerSequence: 0.2, decodeMsPerContextToken: 1e-4 };
    const holder = candidate(0, { cachedTokens: 900, inFlight: 2, contextTokens: 2_000, rates });
    const idle = (beside: Partial<CandidateView>) => candidate(1, { cachedTokens: 550, rates, ...beside });
    const chosen = (other: CandidateView) => decide(viewOf([holder, other]), request(1_000), CACHE_AWARE, 0, 0).chosen;
    expect(chosen(idle({}))).toBe(1);
    const shared = idle({ besideInFlight: 2, besideContextTokens: 2_000 });
    expect(chosen(shared)).toBe(0);
    // 25 * (2 * 0.2 * 2 + 1e-4 * (2,000 + 2 * 1,000)) among them, 0.6 of it beside them.
    const { candidates } = decide(viewOf([holder, shared]), request(1_000), CACHE_AWARE, 0, 0);
    expect(candidates.map(({ terms }) => terms.decodeMs)).toEqual([expect.closeTo(30, 9), expect.closeTo(18, 9)]);
  });

  it("counts what a request leased there before will leave, and says so", () => {
    const candidates = [candidate(0, { cachedTokens: 200, predictedTokens: 900, queuedPrefillMs: 90 }), candidate(1)];
    const decision = decide(viewOf(candidates), request(2_000), CACHE_AWARE, 0, 0);
    expect(decision.candidates[0]).toMatchObject({ deviceTokens: 900, awaitedTokens: 700, uncachedTokens: 1_100, loadedTokens: 0 });
    expect(decision.chosen).toBe(1);
    const idle = decide(viewOf([candidate(0, { predictedTokens: 900 }), candidate(1)]), request(2_000), CACHE_AWARE, 0.9, 0);
    expect(idle.chosen).toBe(0);
    expect(idle.reason).toContain("holds 900 of ~2,000 prompt tokens (900 of them with a request leased there before)");
  });

  it("stays where the session was among equals, and leaves it for 5 % of a cold prefill", () => {
    const equals = [0, 1, 2].map((slot) => candidate(slot));
    expect([0, 0.4, 0.9].map((draw) => decide(viewOf(equals), request(1_000, { stickyTo: 1 }), CACHE_AWARE, draw, 0).chosen)).toEqual([
      1, 1, 1,
    ]);
    const queued = (queuedPrefillMs: number) => viewOf([candidate(0), candidate(1, { queuedPrefillMs })]);
    expect(decide(queued(2), request(1_000, { stickyTo: 1 }), CACHE_AWARE, 0, 0).chosen).toBe(1);
    const left = decide(queued(3), request(1_000, { stickyTo: 1 }), CACHE_AWARE, 0, 0);
    expect([left.chosen, left.candidates[0]?.terms.leaveMs]).toEqual([0, 2.5]);
  });

  it("breaks ties by the draw alone", () => {
    const candidates = [0, 1, 2, 3].map((slot) => candidate(slot));
    const chosen = [0, 0.26, 0.5, 0.99].map((draw) => decide(viewOf(candidates), request(100), CACHE_AWARE, draw, 5).chosen);
    expect(chosen).toEqual([0, 1, 2, 3]);
  });
});

describe("the gate", () => {
  const full = candidate(0, { inFlight: 16, cachedTokens: 900 });

  it("takes a full replica never; when all are full the caller waits", () => {
    expect(decide(viewOf([full, candidate(1)]), request(1_000), CACHE_AWARE, 0, 0).chosen).toBe(1);
    const decision = decide(viewOf([full]), request(1_000), CACHE_AWARE, 0, 0);
    expect(decision).toMatchObject({ chosen: null, outcome: "all-full", reason: "all full: 1 of 1 replicas have no place" });
  });

  it("counts the KV cache, but an idle replica is never full", () => {
    const kv = candidate(0, { kvTokens: 2_000, liveKvTokens: 1_200, inFlight: 1 });
    expect(decide(viewOf([kv]), request(700), CACHE_AWARE, 0, 0).outcome).toBe("all-full");
    // With answers of 200 tokens 140 each are to come, less what is written: 120 of the two there, 140 of its own.
    const running = { kvTokens: 2_000, liveKvTokens: 1_040, outputTokens: 160, inFlight: 2 };
    const outcome = (changes: Partial<CandidateView>) =>
      decide(viewOf([candidate(0, { ...running, ...changes })]), request(700), CACHE_AWARE, 0, 0).outcome;
    expect([outcome({}), outcome({ liveKvTokens: 1_041 }), outcome({ liveKvTokens: 1_160, outputTokens: 280 })]).toEqual([
      "chosen",
      "all-full",
      "chosen",
    ]);
    const idle = candidate(0, { kvTokens: 2_000 });
    expect(decide(viewOf([idle]), request(7_000), CACHE_AWARE, 0, 0).outcome).toBe("chosen");
  });

  it("waits for whoever is cheapest, the wait counted, where tokens would come more seldom than its client wants", () => {
    const rates = { ...RATES, decodeMsPerStep: 10, decodeMsPerSequence: 4 };
    const busy = candidate(0, { cachedTokens: 900, inFlight: 10, rates, sequences: 64 });
    const decided = (tpotMs: number, other: Partial<CandidateView> = {}) =>
      decide(viewOf([busy, candidate(1, { rates, ...other })]), request(1_000, { tpotMs }), CACHE_AWARE, 0, 0);
    // A step would take 10 + 4 * 11 = 54 ms; 95 % of what is wanted is aimed at.
    expect(decided(57)).toMatchObject({ candidates: [{ barred: null }, {}] });
    // 54 - 53.2 ms too many: (0.8 * 200 * 54) / 44 until they are gone.
    const [slow] = decided(56).candidates;
    expect(slow).toMatchObject({ barred: "too slow", terms: { awaitedMs: expect.closeTo((0.8 * 200 * 54) / 44, 6) } });
    expect(decided(56).chosen).toBe(1);
    const dear = decided(56, { queuedPrefillMs: 50_000 });
    expect(dear).toMatchObject({ chosen: null, outcome: "all-full", reason: expect.stringContaining("decode too slowly for it now") });
    // Of more than twice as many as ever decoded side by side nobody knows how slow they would be.
    const crowded = candidate(0, { inFlight: 30, rates: { ...rates, decodeMsPerSequence: 0, decodeSequencesSeen: 8 }, sequences: 64 });
    expect(decide(viewOf([crowded]), request(1_000, { tpotMs: 1_000 }), CACHE_AWARE, 0, 0).candidates[0]?.barred).toBeNull();
    const counted = { ...crowded, rates: { ...crowded.rates, decodeMsPerSequence: 0.1 } };
    expect(decide(viewOf([counted]), request(1_000, { tpotMs: 1_000 }), CACHE_AWARE, 0, 0).candidates[0]?.barred).toBe("too slow");
    // Those that hold nothing back take what there is; an idle replica is never waited for.
    expect(decide(viewOf([busy, candidate(1)]), request(1_000, { tpotMs: 1 }), CACHE_AWARE, 0, 0).chosen).toBe(1);
    expect(decide(viewOf([busy]), request(1_000), CACHE_AWARE, 0, 0).chosen).toBe(0);
  });

  it("takes no replica that is excluded or not eligible", () => {
    const candidates = [candidate(0), candidate(1, { eligible: false })];
    const decision = decide(viewOf(candidates), request(10, { excluded: [0] }), CACHE_AWARE, 0, 0);
    expect(decision).toMatchObject({ chosen: null, outcome: "none-eligible" });
    expect(decision.reason).toBe("none of 2 replicas may take it now; 1 failed this request before");
    expect(decide(viewOf([]), request(10), CACHE_AWARE, 0, 0).reason).toBe("no replica is here");
  });
});

describe("other profiles", () => {
  const candidates = [candidate(0, { inFlight: 2, cachedTokens: 90 }), candidate(1, { inFlight: 1 }), candidate(2, { inFlight: 3 })];
  const view = viewOf(candidates);

  it("choose by their own measure", () => {
    expect(decide(view, request(100), PROFILES["least-loaded"], 0.9, 0).chosen).toBe(1);
    expect([0, 1, 2, 3].map((turn) => decide(view, request(100), PROFILES["round-robin"], 0, turn).chosen)).toEqual([0, 1, 2, 0]);
    expect([0.1, 0.5, 0.9].map((draw) => decide(view, request(100), PROFILES.random, draw, 0).chosen)).toEqual([0, 1, 2]);
    expect(decide(view, request(100, { stickyTo: 2 }), PROFILES.sticky, 0, 0).chosen).toBe(2);
    expect(decide(view, request(100, { stickyTo: 9 }), PROFILES.sticky, 0, 0).chosen).toBe(1);
    expect(decide(view, request(100), PROFILES.sticky, 0, 0).chosen).toBe(1);
  });
});

describe("whatever the view", () => {
  it("the chosen one may be chosen and none that may is cheaper; null only when none may", () => {
    fc.assert(
      fc.property(
        anyView,
        anyRequest,
        fc.constantFrom(...Object.values(PROFILES)),
        anyDraw,
        fc.nat(),
        (view, asked, profile, draw, turn) => {
          const decision = decide(view, asked, profile, draw, turn);
          const open = decision.candidates.filter((scored) => scored.barred === null);
          const winner = decision.chosen === null ? null : decision.candidates[decision.chosen];
          const awaited = decision.candidates.filter((scored) => scored.barred === "too slow");
          const leastOpen = Math.min(...open.map((scored) => scored.plannedCost));
          const waits = open.length === 0 || awaited.some((scored) => scored.cost < leastOpen);
          if (waits) expect(winner).toBeNull();
          else expect(winner?.barred).toBeNull();
          expect(decision.outcome === "chosen").toBe(!waits);
          if (profile.pick === "lowest-cost" && !waits)
            for (const scored of open) expect(scored.plannedCost).toBeGreaterThanOrEqual(winner?.plannedCost ?? Infinity);
          for (const scored of decision.candidates) expect(Number.isFinite(scored.cost)).toBe(true);
          expect(decision.reason).not.toMatch(/NaN|undefined|Infinity/);
        },
      ),
      { seed: 19, numRuns: 500 },
    );
  });
});
