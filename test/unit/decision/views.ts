import fc from "fast-check";
import type { CandidateView, PoolView, RequestView } from "../../../src/decision/decision.ts";

export function candidate(replica: number, extra: Partial<CandidateView> = {}): CandidateView {
  const { cachedTokens = 0 } = extra;
  const held = { overlapSegments: 0, cachedTokens, deviceTokens: cachedTokens, memoryTokens: cachedTokens };
  const idle = {
    predictedTokens: 0,
    inFlight: 0,
    contextTokens: 0,
    queuedPrefillMs: 0,
    stuckMs: 0,
    plannedMs: 0,
    liveKvTokens: 0,
    outputTokens: 0,
    besideInFlight: 0,
    besideContextTokens: 0,
  };
  const size = { kvTokens: 100_000, sequences: 8, queueLimit: 8, holdMs: 800 };
  const may = { eligible: true, prefills: false, decodeOnly: false, transfers: false };
  return { replica, name: `replica-${replica}`, ...held, ...idle, ...size, rates: RATES, ...may, ...extra };
}

export const RATES = {
  prefillMsPerToken: 0.05,
  attentionMsPerPair: 0,
  decodeMsPerSequence: 0,
  decodeMsPerContextToken: 0,
  decodeMsPerStep: 0,
  decodeStretch: 1,
  decodeSequencesSeen: 64,
  loadMsPerToken: 0.01,
  transferMsPerToken: 0.02,
  ttftStretch: 1,
  ttftExtraMs: 0,
};

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
  predictedTokens: fc.oneof(fc.constant(0), fc.nat(60_000)),
  inFlight: fc.nat(24),
  contextTokens: fc.nat(400_000),
  queuedPrefillMs: amount,
  stuckMs: fc.constantFrom(0, 0, 0, 600_000),
  plannedMs: fc.oneof(fc.constant(0), amount),
  liveKvTokens: fc.nat(150_000),
  outputTokens: fc.nat(10_000),
  besideInFlight: fc.nat(20),
  besideContextTokens: fc.nat(50_000),
  kvTokens: fc.nat(200_000),
  sequences: fc.nat(16),
  queueLimit: fc.nat(8),
  holdMs: amount,
  rates: fc.record({
    prefillMsPerToken: rate,
    attentionMsPerPair: fc.double({ min: 0, max: 0.001, noNaN: true }),
    decodeMsPerSequence: fc.double({ min: 0, max: 10, noNaN: true }),
    decodeMsPerContextToken: fc.double({ min: 0, max: 0.01, noNaN: true }),
    decodeMsPerStep: fc.double({ min: 0, max: 60, noNaN: true }),
    decodeStretch: fc.double({ min: 1, max: 10, noNaN: true }),
    decodeSequencesSeen: fc.nat(64),
    loadMsPerToken: rate,
    transferMsPerToken: rate,
    ttftStretch: fc.constantFrom(0.5, 1, 2),
    ttftExtraMs: fc.constantFrom(0, 30),
  }),
  eligible: fc.boolean(),
  prefills: fc.boolean(),
  decodeOnly: fc.boolean(),
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
    tpotMs: fc.integer({ min: 1, max: 200 }),
    counts: fc.boolean(),
  },
  { requiredKeys: ["promptTokens", "promptBytes", "segments", "excluded"] },
);

/** [0, 1). */
export const anyDraw = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

/** Numbers in [0, 1), the same for the same seed: xorshift. */
export function dice(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
