import { describe, expect, it } from "vitest";
import { hindsightOf, summaryOf } from "../../../src/explain/hindsight.ts";
import { PROFILES } from "../../../src/decision/profiles.ts";
import { recordOf } from "./records.ts";
import { candidate, request, viewOf } from "../decision/views.ts";

/** 0.05 ms a token: 1,000 tokens take 50 ms. */
const view = viewOf([candidate(0), candidate(1, { cachedTokens: 600 }), candidate(2, { cachedTokens: 900, eligible: false })]);
const came = (ttftMs: number, promptTokens = 1_000) => ({ ttftMs, promptTokens, cachedTokens: 0 });

describe("hindsight", () => {
  it("is not there before the first token", () => {
    expect(hindsightOf(recordOf(view, request(1_000)))).toBeNull();
  });

  it("has no regret when no other was predicted sooner than it came", () => {
    const known = hindsightOf(recordOf(view, request(1_000), came(30)));
    expect(known).toEqual({ predictedMs: 20, actualMs: 30, bestMs: 30, best: "replica-1", regretMs: 0, foreseenMs: 0 });
  });

  it("regrets what another was predicted to need, of those that could take it", () => {
    const known = hindsightOf(recordOf(view, request(1_000), came(75)));
    expect(known).toEqual({ predictedMs: 20, actualMs: 75, bestMs: 50, best: "replica-0", regretMs: 25, foreseenMs: 0 });
  });

  it("takes the prompt's true length, and says what was given up knowingly", () => {
    const record = recordOf(view, request(700), came(60), { profile: PROFILES["round-robin"] });
    const known = hindsightOf(record);
    expect(known).toEqual({ predictedMs: 50, actualMs: 60, bestMs: 20, best: "replica-1", regretMs: 40, foreseenMs: 30 });
  });

  it("predicts a transfer with the transfer", () => {
    const moving = (replica: number, cachedTokens: number, queuedPrefillMs: number) =>
      candidate(replica, { cachedTokens, queuedPrefillMs, transfers: true });
    const record = recordOf(viewOf([moving(0, 0, 0), moving(1, 9_000, 5_000)]), request(10_000), came(300, 10_000));
    // 9,000 tokens are pulled at 0.02 ms, 1,000 computed.
    expect(record.decision).toMatchObject({ chosen: 0, transfer: { kind: "pull", tokens: 9_000 } });
    expect(hindsightOf(record)).toMatchObject({ predictedMs: expect.closeTo(230, 6), regretMs: 0 });
  });

  it("is summed up by nearest ranks", () => {
    const known = [30, 75, 130].flatMap((ttftMs) => hindsightOf(recordOf(view, request(1_000), came(ttftMs))) ?? []);
    expect(summaryOf(known)).toEqual({
      known: 3,
      actualMeanMs: expect.closeTo(235 / 3, 9),
      errorP50Ms: 55,
      errorP90Ms: 110,
      regretMeanMs: 35,
      regretP99Ms: 80,
      foreseenMeanMs: 0,
    });
    expect(summaryOf([])).toMatchObject({ known: 0, regretMeanMs: 0, regretP99Ms: 0 });
  });
});
