import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NOTHING, unscored } from "../../../src/decision/cost.ts";
import type { CostTerms, PlannedTransfer, Profile, ScoredCandidate } from "../../../src/decision/decision.ts";
import { type DecisionOutcome, encodeRecord, type ExplainRecord, replay } from "../../../src/explain/record.ts";
import { funnelFor } from "../../../src/explain/funnel.ts";
import { type Hindsight, hindsightOf } from "../../../src/explain/hindsight.ts";
import { CACHE_AWARE, PROFILES } from "../../../src/decision/profiles.ts";
import { describeAttempt, listDecisions } from "../../../src/explain/listing.ts";
import { whyOf } from "../../../src/explain/paragraph.ts";
import { recordOf } from "./records.ts";
import { anyRequest, anyView, candidate, request, viewOf } from "../decision/views.ts";

const why = (record: ExplainRecord): string => whyOf(record, replay(record), hindsightOf(record));

/** A candidate's score by hand, so that the words do not change with how costs are weighed. */
function scored(name: string, terms: Partial<CostTerms>, more: Partial<ScoredCandidate> = {}): ScoredCandidate {
  return { ...unscored(), name, terms: { ...NOTHING, ...terms }, ...more };
}

const calm = scored(
  "r1",
  { queueMs: 12, prefillMs: 15, loadMs: 2, stallMs: 3.4, displacementMs: 10.2, decodeMs: 40, inFlight: 1 },
  { cachedTokens: 700, deviceTokens: 500, loadedTokens: 200, predictedTtftMs: 29, workMs: 29, plannedCost: 82.6 },
);
const busy = scored(
  "r0",
  { queueMs: 400, prefillMs: 5, stallMs: 5, displacementMs: 38, decodeMs: 200, leaveMs: 2.5, inFlight: 5 },
  { cachedTokens: 900, deviceTokens: 900, predictedTtftMs: 405, workMs: 405, plannedCost: 650.5 },
);
const gone = scored("r2", {}, { barred: "not eligible" });
const decision = { ...replay(recordOf(viewOf([]), request(0))), candidates: [busy, calm, gone] };
const came: Partial<DecisionOutcome> = { ttftMs: 34, promptTokens: 1_010, cachedTokens: 690, outputTokens: 42, ended: "settled" };
const hindsight: Hindsight = { predictedMs: 29.5, actualMs: 34, bestMs: 34, best: "r1", regretMs: 0, foreseenMs: 0 };

/** The second was chosen. */
function chose(
  outcome: Partial<DecisionOutcome>,
  more: Parameters<typeof recordOf>[3],
  transfer: PlannedTransfer | null = null,
): ExplainRecord {
  const record = recordOf(viewOf([]), request(1_000), outcome, more);
  return {
    ...record,
    profile: { ...CACHE_AWARE, ...more?.profile },
    decision: { ...record.decision, chosen: 1, outcome: "chosen", transfer },
  };
}

describe("why", () => {
  const held = "It held 700 of ~1,000 prompt tokens (200 of them on lower tiers, loaded in 2 ms)";
  const next =
    "Next came r0, dearer by 568 ms: 405 ms to the first token (400 ms of queue, 5 ms of its own prefill) with 900 tokens held, and " +
    "5 ms for stalling 5 requests in flight there, 38 ms for prefixes displaced, 200 ms for decoding beside 5 requests, 2.5 ms for leaving its session's replica.";
  const besides = "3.4 ms for stalling 1 request in flight there, 10 ms for prefixes displaced, 40 ms for decoding beside 1 request.";

  it("says how sure it was what the replica held, where that was not exact", () => {
    const residency = { state: "degraded", why: "its KV events do not come" } as const;
    expect(whyOf(chose(came, { residency }), decision, hindsight)).toContain(`${held}, which is degraded: its KV events do not come. `);
  });

  it("one paragraph from holding to regret", () => {
    expect(whyOf(chose(came, { seenTokens: 950, waitedMs: 340 }), decision, hindsight)).toBe(
      `r1 was chosen among 2 that could take it, at the least predicted cost (profile cache-aware). ${held}; 950 had come by before. ` +
        "Predicted to the first token: 29 ms (12 ms of queue, 15 ms of its own prefill, 2 ms of loading lower tiers); no blocks come from elsewhere. " +
        `Its cost counts besides ${besides} ${next} It was sent 340 ms after it came. ` +
        "The first token came after 34 ms, 4.5 ms later than predicted for the prompt's true length; 690 of 1,010 prompt tokens were reused and 42 written. " +
        "In hindsight no other is predicted to have been sooner.",
    );
  });

  it("before anything came of it, with a transfer", () => {
    const pull = {
      kind: "pull",
      replica: 0,
      name: "r0",
      tokens: 200,
      transferMs: 4,
      senderMs: 0,
      senderWorkMs: 0,
      senderNewTokens: 0,
      senderCachedTokens: 0,
    } as const;
    const text = whyOf(chose({}, { waitedMs: 0 }, { ...pull, insteadOfMs: 10, receiverMs: 9 }), decision, null);
    expect(text).toBe(
      `r1 was chosen among 2 that could take it, at the least predicted cost (profile cache-aware). ${held}. ` +
        "Predicted to the first token: 21 ms; pulls 200 more from r0 (4 ms instead of 10 ms); " +
        "alone it would take 29 ms (12 ms of queue, 15 ms of its own prefill, 2 ms of loading lower tiers). " +
        `Its cost alone counts besides ${besides} ${next} It was sent at once. Nothing has been reported of it yet.`,
    );
  });

  it("how a transfer went", () => {
    const transfer = { kind: "prefill", replica: "r0", outcome: "used", bytes: 1, ms: 150, tokens: 9_000 } as const;
    expect(whyOf(chose({ ...came, transfer }, {}), decision, hindsight)).toMatch(/ The prefill on r0 brought 9,000 tokens in 150 ms\.$/);
    const failed = { ...transfer, kind: "pull", outcome: "fallback", why: "late" } as const;
    expect(whyOf(chose({ ...came, transfer: failed }, {}), decision, hindsight)).toMatch(
      / The pull from r0 came to nothing \(late\), so it computed itself\.$/,
    );
  });

  it("with regret, and how much of it was foreseen", () => {
    const regret = { ...hindsight, bestMs: 20, best: "r0", regretMs: 14 };
    const told = (foreseenMs: number) => whyOf(chose(came, {}), decision, { ...regret, foreseenMs });
    expect(told(0)).toMatch(/In hindsight r0 is predicted to have needed 20 ms: a regret of 14 ms at most\.$/);
    expect(told(9.5)).toMatch(/a regret of 14 ms at most, 9\.5 ms of it foreseen\.$/);
    expect(told(30)).toMatch(/a regret of 14 ms at most, all of it foreseen\.$/);
  });

  it("by profiles that do not look at time", () => {
    const by = (profile: Profile) => whyOf(chose({}, { profile }), decision, null);
    expect(by(PROFILES["round-robin"])).toMatch(/^r1 was chosen among 2 that could take it, by its turn \(profile round-robin\)\./);
    expect(by(PROFILES.random)).toContain("by chance (profile random)");
    expect(by(PROFILES["least-loaded"])).toContain("by its rule (profile least-loaded)");
    expect(by(PROFILES.sticky)).toContain(
      "Of the others r0 was predicted soonest: 405 ms to the first token (400 ms of queue, 5 ms of its own prefill) with 900 tokens held.",
    );
  });

  it("says how it ended without an answer", () => {
    const alone = (outcome: Partial<DecisionOutcome>) => why(recordOf(viewOf([candidate(0)]), request(100), outcome));
    expect(alone({})).toMatch(/^replica-0 was chosen as the only one that could take it.*Nothing has been reported of it yet\.$/);
    expect(alone({ ended: "released" })).toMatch(/It was given back before its end\.$/);
    expect(alone({ ended: "expired" })).toMatch(/Its lease ran out before its end was reported\.$/);
  });

  it("is whole sentences, whatever the view", () => {
    fc.assert(
      fc.property(anyView, anyRequest, fc.constantFrom(...Object.values(PROFILES)), fc.nat(), (views, asked, profile, turn) => {
        const text = why(recordOf(views, asked, came, { profile, turn }));
        expect(text).toMatch(/^[^\n]+\.$/);
        expect(text).not.toMatch(/NaN|undefined|null|Infinity|\.\.| {2}|: ?\./);
      }),
      { seed: 62, numRuns: 300 },
    );
  });
});

describe("what a tenant sees", () => {
  const record = recordOf(viewOf([candidate(0), candidate(1), candidate(2)]), request(1_000), came, { seenTokens: 950 });

  it("of one attempt has words, numbers and hindsight, and no tenant name", () => {
    const told = describeAttempt(record);
    expect(told).toMatchObject({
      id: "r",
      why: why(record),
      hindsight: { actualMs: 34 },
      candidates: [{ name: "replica-0" }, { name: "replica-1" }, {}],
    });
    expect(Object.keys(told)).not.toContain("tenant");
    expect(Object.keys(told)).not.toContain("view");
  });

  it("of several pools is their newest decisions in order, and the sum of their funnels", () => {
    const at = (id: string, decidedAtMs: number) => encodeRecord({ ...record, id, decidedAtMs });
    const funnel = funnelFor({ seenTokens: 95, heldTokens: 90, chosenTokens: 80 }, 100, 70);
    const kept = [
      { pool: "eu", funnel, records: [at("d", 4), at("b", 2), at("a", 1)] },
      { pool: "us", funnel, records: [at("c", 3)] },
    ];
    const all = listDecisions(kept, 3);
    expect(all).toMatchObject({ object: "list", pool: null, pools: ["eu", "us"], funnel: { requests: 2, reusedTokens: 140 } });
    expect(all).toMatchObject({ hindsight: { known: 3, actualMeanMs: 34 }, data: [{ id: "b" }, { id: "c", pool: "us" }, { id: "d" }] });
    expect(JSON.stringify(all)).not.toContain("tenant");
    expect(listDecisions(kept.slice(0, 1), 3)).toMatchObject({ pool: "eu" });
    expect(listDecisions([], 3)).toMatchObject({ pool: null, data: [], hindsight: { known: 0 } });
  });
});
