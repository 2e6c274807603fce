import fc from "fast-check";
import type { CandidateView, PoolView, RequestView } from "../../../src/routing/decision.ts";

export function candidate(replica: number, extra: Partial<CandidateView> = {}): CandidateView {
  const idle = { overlapSegments: 0, cachedTokens: 0, inFlight: 0, queuedPrefillMs: 0, liveKvTokens: 0 };
  const size = { kvTokens: 100_000, sequences: 8, queueLimit: 8, rates: { prefillMsPerToken: 0.05 } };
  return { replica, name: `replica-${replica}`, ...idle, ...size, eligible: true, ...extra };
}

export function request(promptTokens: number, extra: Partial<RequestView> = {}): RequestView {
  return { promptTokens, promptBytes: promptTokens * 4, segments: 20, excluded: [], ...extra };
}

const amount = fc.double({ min: 0, max: 50_000, noNaN: true });
const candidateView: fc.Arbitrary<Omit<CandidateView, "replica" | "name">> = fc.record({
  overlapSegments: fc.nat(200),
  cachedTokens: fc.nat(60_000),
  inFlight: fc.nat(24),
  queuedPrefillMs: amount,
  liveKvTokens: fc.nat(150_000),
  kvTokens: fc.nat(200_000),
  sequences: fc.nat(16),
  queueLimit: fc.nat(8),
  rates: fc.record({ prefillMsPerToken: fc.double({ min: 0.001, max: 20, noNaN: true }) }),
  eligible: fc.boolean(),
});

export const anyView: fc.Arbitrary<PoolView> = fc.record({
  candidates: fc
    .array(candidateView, { maxLength: 64 })
    .map((views) => views.map((view, replica) => ({ ...view, replica, name: `replica-${replica}` }))),
  meanOutputTokens: fc.double({ min: 1, max: 4_000, noNaN: true }),
});

export const anyRequest: fc.Arbitrary<RequestView> = fc.record(
  {
    promptTokens: fc.nat(100_000),
    promptBytes: fc.nat(400_000),
    segments: fc.nat(300),
    excluded: fc.array(fc.integer({ min: 0, max: 63 }), { maxLength: 3 }),
    stickyTo: fc.integer({ min: 0, max: 63 }),
  },
  { requiredKeys: ["promptTokens", "promptBytes", "segments", "excluded"] },
);

/** [0, 1). */
export const anyDraw = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
