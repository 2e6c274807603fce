import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MAX_REPLICAS } from "../../../src/residency/segment-index.ts";
import { decide } from "../../../src/decision/decide.ts";
import type { CandidateView, PoolView, RequestView } from "../../../src/decision/decision.ts";
import { LineCosts, type PlannedPlace } from "../../../src/router/line-costs.ts";
import type { Holdings } from "../../../src/router/view.ts";
import { CACHE_AWARE } from "../../../src/decision/profiles.ts";
import { anyRequest, anyView, candidate, RATES, request, viewOf } from "../decision/views.ts";

function holdingsOf({ candidates }: PoolView): Holdings {
  const of = (pick: (view: CandidateView) => number): number[] => {
    const row = Array.from({ length: MAX_REPLICAS }, () => 0);
    for (const view of candidates) row[view.replica] = pick(view);
    return row;
  };
  return {
    halves: new Uint32Array(),
    deviceSegments: new Uint16Array(MAX_REPLICAS),
    overlapSegments: Uint16Array.from(of((view) => view.overlapSegments)),
    cachedTokens: Uint32Array.from(of((view) => view.cachedTokens)),
    deviceTokens: Uint32Array.from(of((view) => view.deviceTokens)),
    memoryTokens: Uint32Array.from(of((view) => view.memoryTokens)),
    predictedTokens: Uint32Array.from(of((view) => view.predictedTokens)),
  };
}

function placeOf(view: PoolView, seen: RequestView, planned: readonly number[] = []): PlannedPlace | null {
  const { meanOutputTokens, remotePrefillTokens } = view;
  const candidates = view.candidates.map((each) => ({ ...each, plannedMs: 0 }));
  const plannedMs = Float64Array.from(candidates, (_, column) => planned[column] ?? 0);
  const setting = { profile: CACHE_AWARE, meanOutputTokens, remotePrefillTokens };
  return new LineCosts(setting, [{ seen, holdings: holdingsOf(view) }], candidates, plannedMs).placeOf(0);
}

const decoder = (slot: number, extra: Partial<CandidateView> = {}) => candidate(slot, { transfers: true, decodeOnly: true, ...extra });
const prefiller = (slot: number, extra: Partial<CandidateView> = {}) =>
  candidate(slot, { transfers: true, eligible: false, prefills: true, ...extra });

describe("the place planned for one in line", () => {
  it("is the one that the decision takes, whatever the view", () => {
    fc.assert(
      fc.property(anyView, anyRequest, (view, seen) => {
        const unplanned = { ...view, candidates: view.candidates.map((each) => ({ ...each, plannedMs: 0 })) };
        const { chosen, transfer } = decide(unplanned, seen, CACHE_AWARE, 0, 0);
        const place = placeOf(unplanned, seen);
        expect(place?.column ?? null).toBe(chosen);
        if (place !== null) expect(place.prefillsOn).toBe(transfer?.kind === "prefill" ? transfer.replica : chosen);
      }),
      { seed: 17, numRuns: 2_000 },
    );
  });

  it("is the one that the decision takes where several cost the same", () => {
    const queued = fc.constantFrom(0, 0, 900);
    const few = fc.nat(3);
    const sender = fc.tuple(queued, few).map(([queuedPrefillMs, inFlight]) => ({ queuedPrefillMs, inFlight }));
    const receiver = fc.tuple(queued, fc.boolean(), fc.constantFrom(0, 6_000));
    fc.assert(
      fc.property(fc.array(sender, { maxLength: 4 }), fc.array(receiver, { minLength: 1, maxLength: 4 }), (senders, receivers) => {
        const candidates = [
          ...receivers.map(([queuedPrefillMs, decodeOnly, cachedTokens], slot) =>
            decoder(slot, { queuedPrefillMs, decodeOnly, cachedTokens }),
          ),
          ...senders.map((sending, at) => prefiller(receivers.length + at, sending)),
        ];
        const view = viewOf(candidates, { remotePrefillTokens: 512 });
        const { chosen, transfer } = decide(view, request(8_000), CACHE_AWARE, 0, 0);
        expect(placeOf(view, request(8_000))).toMatchObject({
          column: chosen,
          prefillsOn: transfer?.kind === "prefill" ? transfer.replica : chosen,
        });
      }),
      { seed: 71, numRuns: 1_000 },
    );
  });

  it("is worth more than waiting for a slow replica that costs more than it does with a transfer", () => {
    const rates = { ...RATES, decodeMsPerStep: 10, decodeMsPerSequence: 5 };
    const slow = candidate(1, { inFlight: 7, rates, queuedPrefillMs: 1_000 });
    const view = viewOf([candidate(0, { transfers: true, queuedPrefillMs: 9_000 }), slow, prefiller(2)], { remotePrefillTokens: 512 });
    const seen = request(4_000, { tpotMs: 40 });
    const { candidates, chosen } = decide(view, seen, CACHE_AWARE, 0, 0);
    const [far, near] = candidates;
    expect(near?.barred).toBe("too slow");
    expect(near?.cost).toBeLessThan(far?.cost ?? 0);
    expect(near?.cost).toBeGreaterThan(far?.plannedCost ?? Infinity);
    expect(chosen).toBe(0);
    expect(placeOf(view, seen)).toMatchObject({ column: 0, prefillsOn: 2 });
  });

  it("leads through the prefill replica until what is planned there reaches its hold, then the decoders compute", () => {
    const view = viewOf([decoder(0), decoder(1), prefiller(2)], { remotePrefillTokens: 512 });
    // 4,000 tokens are 200 ms, the hold 800.
    expect(placeOf(view, request(4_000))).toMatchObject({ column: 0, prefillsOn: 2, workMs: 200 });
    expect(placeOf(view, request(4_000), [0, 0, 799])).toMatchObject({ prefillsOn: 2 });
    expect(placeOf(view, request(4_000), [0, 0, 801])).toMatchObject({ column: 0, prefillsOn: 0, workMs: 200 });
    expect(placeOf(view, request(4_000), [500, 0, 801])).toMatchObject({ column: 1, prefillsOn: 1 });
    // All are late: where it is least so.
    expect(placeOf(view, request(4_000), [3_000, 3_000, 900])).toMatchObject({ prefillsOn: 2 });
  });

  it("plans what is left after a pull", () => {
    const holder = candidate(0, { transfers: true, cachedTokens: 6_000, inFlight: 7, queuedPrefillMs: 2_000 });
    const view = viewOf([holder, candidate(1, { transfers: true })]);
    // 500 computed at 0.05, 6,000 come at 0.02.
    expect(placeOf(view, request(6_500))).toEqual({ column: 1, prefillsOn: 1, workMs: 145 });
  });
});
