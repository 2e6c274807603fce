import fc from "fast-check";
import type { CandidateView, PoolView, RequestView } from "../../../src/routing/decision.ts";

export function candidate(replica: number, extra: Partial<CandidateView> = {}): CandidateView {
  const { cachedTokens = 0 } = extra;
  const held = { overlapSegments: 0, cachedTokens, deviceTokens: cachedTokens, memoryTokens: cachedTokens };
  const idle = { inFlight: 0, queuedPrefillMs: 0, liveKvTokens: 0 };
  const size = { kvTokens: 100_000, sequences: 8, queueLimit: 8 };
  const may = { eligible: true, prefills: false, transfers: false };
  return { replica, name: `replica-${replica}`, ...held, ...idle, ...size, rates: RATES, ...may, ...extra };
}

export const RATES = { prefillMsPerToken: 0.05, loadMsPerToken: 0.01, transferMsPerToken: 0.02 };

/** A view of these. Nothing is prefilled elsewhere unless told. */
export function viewOf(candidates: CandidateView[], extra: Partial<PoolView> = {}): PoolView {
  return { candidates, meanOutputTokens: 200, remotePrefillTokens: null, ...extra };
}

export function request(promptTokens: number, extra: Partial<RequestView> = {}): RequestView {
  return { promptTokens, promptBytes: promptTokens * 4, segments: 20, excluded: [], ...extra };
}

const amount = fc.double({ min: 0, max: 50_000, noNaN: true });
const rate = fc.double({ min: 0.001, max: 20, noNaN: true });
const candidateView: fc.Arbitrary<Omit<CandidateView, "replica" | "name">> = fc.record({
  overlapSegments: fc.nat(200),
  cachedTokens: fc.nat(60_000),
  deviceTokens: fc.nat(60_000),
  memoryTokens: fc.nat(60_000),
  inFlight: fc.nat(24),
  queuedPrefillMs: amount,
  liveKvTokens: fc.nat(150_000),
  kvTokens: fc.nat(200_000),
  sequences: fc.nat(16),
  queueLimit: fc.nat(8),
  rates: fc.record({ prefillMsPerToken: rate, loadMsPerToken: rate, transferMsPerToken: rate }),
  eligible: fc.boolean(),
  prefills: fc.boolean(),
  transfers: fc.boolean(),
});

export const anyView: fc.Arbitrary<PoolView> = fc.record({
  candidates: fc
    .array(candidateView, { maxLength: 64 })
    .map((views) => views.map((view, replica) => ({ ...view, replica, name: `replica-${replica}` }))),
  meanOutputTokens: fc.double({ min: 1, max: 4_000, noNaN: true }),
  remotePrefillTokens: fc.option(fc.nat(2_000)),
});

export const anyRequest: fc.Arbitrary<RequestView> = fc.record(
  {
    promptTokens: fc.nat(100_000),
    promptBytes: fc.nat(400_000),
    segments: fc.nat(300),
    excluded: fc.array(fc.integer({ min: 0, max: 63 }), { maxLength: 3 }),
    stickyTo: fc.integer({ min: 0, max: 63 }),
    counts: fc.boolean(),
  },
  { requiredKeys: ["promptTokens", "promptBytes", "segments", "excluded"] },
);

/** [0, 1). */
export const anyDraw = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
