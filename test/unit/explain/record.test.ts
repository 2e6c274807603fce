import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decide } from "../../../src/decision/decide.ts";
import { decodeRecord, encodeRecord, explain, replay, type EncodedRecord, type ExplainRecord } from "../../../src/explain/record.ts";
import { CACHE_AWARE, PROFILES } from "../../../src/decision/profiles.ts";
import { anyDraw, anyRequest, anyView, candidate, request, viewOf } from "../decision/views.ts";

function record(id: string, attempt = 1): ExplainRecord {
  const view = viewOf([candidate(0), candidate(1)]);
  const decision = decide(view, request(100), CACHE_AWARE, 0, 0);
  return explain({
    id,
    attempt,
    tenant: "t",
    decidedAtMs: 5,
    view,
    request: request(100),
    profile: CACHE_AWARE,
    draw: 0,
    turn: 0,
    decision,
  });
}

describe("replay", () => {
  it("decides the same again, from memory and from JSON, whatever the view", () => {
    fc.assert(
      fc.property(
        anyView,
        anyRequest,
        fc.constantFrom(...Object.values(PROFILES)),
        anyDraw,
        fc.nat(),
        (view, asked, profile, draw, turn) => {
          const decision = decide(view, asked, profile, draw, turn);
          const kept = explain({ id: "r", attempt: 1, tenant: "t", decidedAtMs: 1, view, request: asked, profile, draw, turn, decision });
          expect(replay(kept)).toEqual(decision);
          const stored = decodeRecord(JSON.parse(JSON.stringify(encodeRecord(kept))) as EncodedRecord);
          // JSON has no -0; it decides as 0 does.
          expect(JSON.stringify(replay(stored))).toBe(JSON.stringify(decision));
        },
      ),
      { seed: 23, numRuns: process.env["WARMPATH_FULL"] === undefined ? 500 : 10_000 },
    );
  });
});

it("reads rows from before tiers were weighed, and decides the same from them", () => {
  const numbers = [0, 3, 400, 1, 20, 900, 100_000, 8, 8, 0.05, 1, 0, 0, 0, 0, 0, 100_000, 8, 8, 0.05];
  const { loadMs: _loadMs, decodeMs: _decodeMs, leaveMs: _leaveMs, ...weights } = CACHE_AWARE.weights;
  const old = {
    ...encodeRecord(record("old")),
    view: { names: ["replica-0", "replica-1"], eligible: [true, true], numbers, meanOutputTokens: 200 },
    profile: { ...CACHE_AWARE, weights },
    request: request(1_000),
    decision: { chosen: 1, outcome: "chosen", reason: "as it was" },
    outcome: { cachedTokens: 0, promptTokens: 1_000, outputTokens: 9, ttftMs: 50, ended: "settled" },
  };
  const read = decodeRecord(JSON.parse(JSON.stringify(old)) as EncodedRecord);
  const again = replay(read);
  expect(again.candidates).toMatchObject([
    { cachedTokens: 400, deviceTokens: 400, uncachedTokens: 600, terms: { queueMs: 20, prefillMs: 30, loadMs: 0 } },
    { cachedTokens: 0, uncachedTokens: 1_000, cost: expect.closeTo(50 * (1 + 0.01 / 0.99), 9) },
  ]);
  expect([again.transfer, read.decision.transfer, read.outcome.transfer]).toEqual([null, null, null]);
});

it("reads rows from before decodes and predicted paths were weighed, and decides the same from them", () => {
  const { decodeMs: _decodeMs, leaveMs: _leaveMs, ...weights } = CACHE_AWARE.weights;
  const row = [0, 3, 400, 1, 20, 900, 100_000, 8, 8, 300, 300, 0.05, 0.01, 0.02];
  const view = { names: ["r0"], eligible: [true], prefills: [false], transfers: [false], meanOutputTokens: 200, remotePrefillTokens: null };
  const old = {
    ...encodeRecord(record("old")),
    view: { ...view, numbers: row },
    profile: { ...CACHE_AWARE, weights },
    request: request(1_000),
  };
  const again = replay(decodeRecord(JSON.parse(JSON.stringify(old)) as EncodedRecord));
  const terms = { queueMs: 20, prefillMs: 30, loadMs: 1, decodeMs: 0 };
  expect(again.candidates).toMatchObject([{ cachedTokens: 400, deviceTokens: 300, loadedTokens: 100, uncachedTokens: 600, terms }]);
});
