import { describe, expect, it } from "vitest";
import { TIER } from "../../../src/residency/tiers.ts";
import { Sketch } from "../../../src/residency/sketch.ts";
import { createSegmentIndex } from "../../../src/residency/typed-array-index.ts";
import { AnnounceIntake } from "../../../src/router/intake.ts";
import { KAPPA, TTFT_PER_TPOT } from "../../../src/decision/cost.ts";
import { PaceMeter, SketchKeeper } from "../../../src/router/card.ts";
import { PoolState } from "../../../src/router/state.ts";
import { hashes } from "../residency/hashes.ts";

function joined(replicas: number): PoolState {
  const state = new PoolState(createSegmentIndex({}));
  const intake = new AnnounceIntake(state);
  const capacity = { sequences: 2, kvTokens: 100_000, blockTokens: 16, contextTokens: 8_192, queueLimit: 1 };
  for (let slot = 0; slot < replicas; slot++) {
    const hello = {
      name: `r${slot}`,
      epoch: 1,
      url: `http://r${slot}`,
      roles: ["decode"] as const,
      model: "m",
      specFingerprint: "v1",
      capacity,
    };
    intake.membership({ kind: "hello", hello, connection: slot + 1, admitted: true }, 0);
  }
  return state;
}

const reserve = (state: PoolState, id: string, replica: number): void =>
  void state.leases.reserve({ id, attempt: 1, replica, nowMs: 0, promptTokens: 1_000, uncachedTokens: 400, predictedMs: 300, salt: "s" });

describe("load", () => {
  it("is what a new request would find ahead of it on the emptiest replica, and its share of the line", () => {
    const state = joined(2);
    reserve(state, "a", 0);
    reserve(state, "b", 0);
    expect(state.card("p").load).toMatchObject({ queueMs: 0, inFlight: 2, waiting: 0, fullShare: 0.5 });
    reserve(state, "d", 1);
    expect(state.card("p").load).toMatchObject({ queueMs: 300, inFlight: 3 });
    state.line.enter("c", 0, 0);
    const { queueMs, waiting, prefillMsPerToken } = state.card("p").load;
    expect(waiting).toBe(1);
    expect(queueMs).toBe(300 + (1_000 * prefillMsPerToken) / 2);
  });

  it("is no shorter than the line takes to move at its pace of late", () => {
    const state = joined(1);
    for (let n = 0; n < 10; n++) state.line.enter(`w${n}`, 0, 0);
    for (let n = 1; n < 10; n++) state.line.take(undefined, n * 4_000);
    expect(state.line.paceMs).toBeGreaterThan(500);
    expect(state.card("p").load.queueMs).toBe(state.line.paceMs);
  });

  it("says what a prefill does to others, what was found cached, and that its rates are guesses until a replica has reported", () => {
    const state = joined(2);
    expect(state.card("p").load).toMatchObject({ guessed: true, harmPerMs: 0 });
    expect(state.card("p").load).not.toHaveProperty("reusedShare");
    reserve(state, "a", 0);
    // Of two replicas one stalls a decoder, of 256 tokens as none has ended yet, and holds 1,000 of 100,000 tokens.
    expect(state.card("p").load.harmPerMs).toBeCloseTo((TTFT_PER_TPOT / 256 + (KAPPA * 0.01) / 0.99) / 2, 9);
    state.rates.reportPrefill(0, { uncachedTokens: 400, cachedTokens: 0, prefillMs: 40, endedAtMs: 40, untold: 0 });
    state.rates.reportPrefill(0, { uncachedTokens: 800, cachedTokens: 0, prefillMs: 80, endedAtMs: 200, untold: 0 });
    Object.assign(state.counters, { promptTokens: 1_000, reportedCachedTokens: 750 });
    const { load } = state.card("p");
    expect(load.reusedShare).toBe(0.75);
    expect(load).not.toHaveProperty("guessed");
  });

  it("says what decoding there costs, as a mean of its replicas", () => {
    const state = joined(2);
    reserve(state, "a", 0);
    const { decodeMsPerSequence, decodeMsPerContextToken } = state.rates.of(0);
    const { decodeMs = 0, decodeMsPerToken = 0 } = state.card("p").load;
    expect(decodeMs).toBeCloseTo((TTFT_PER_TPOT * (2 * decodeMsPerSequence + 1_000 * decodeMsPerContextToken)) / 2, 9);
    expect(decodeMsPerToken).toBeCloseTo((TTFT_PER_TPOT * decodeMsPerContextToken) / 2, 9);
  });

  it("of a pool without replicas is full", () => {
    expect(joined(0).card("p")).toMatchObject({ model: null, replicas: 0, load: { queueMs: 0, inFlight: 0, fullShare: 1 } });
  });
});

describe("a pace", () => {
  it("is that of the last second, whoever asks how often", () => {
    const pace = new PaceMeter();
    expect(pace.perSecond(0, 10_000)).toBe(0);
    expect(pace.perSecond(200, 10_500)).toBe(0);
    expect(pace.perSecond(400, 11_000)).toBe(400);
    expect(pace.perSecond(900, 11_999)).toBe(400);
    expect(pace.perSecond(1_400, 13_000)).toBe(500);
  });
});

describe("a card's sketch", () => {
  const held = hashes(40, 1);
  const segmentsOf = (sketch: Uint8Array | undefined): number | undefined =>
    sketch === undefined ? undefined : Sketch.parse(sketch)?.overlap(held).held;

  it("comes only to who asks and has another", () => {
    const state = joined(1);
    expect(state.card("p", undefined, 5_000)).not.toHaveProperty("sketchVersion");
    const first = state.card("p", 0, 5_000);
    expect([first.sketchVersion, segmentsOf(first.sketch)]).toEqual([5_000, 0]);
    const again = state.card("p", 5_000, 5_100);
    expect(again.sketchVersion).toBe(5_000);
    expect(again).not.toHaveProperty("sketch");
  });

  it("is made anew a second later, when something changed", () => {
    const index = createSegmentIndex({});
    const keeper = new SketchKeeper(index);
    keeper.sendUnlessKnown(0, 5_000);
    expect(keeper.sendUnlessKnown(0, 9_000).sketchVersion).toBe(5_000);
    for (const [depth, hash] of held.entries()) index.set(hash, 3, TIER.device, depth * 64);
    const made = keeper.sendUnlessKnown(5_000, 9_000);
    expect([made.sketchVersion, segmentsOf(made.sketch)]).toEqual([9_000, 40]);
    index.forgetReplica(3);
    expect(keeper.sendUnlessKnown(9_000, 9_999)).toEqual({ sketchVersion: 9_000 });
    expect(segmentsOf(keeper.sendUnlessKnown(9_000, 10_000).sketch)).toBe(0);
  });

  it("is made the less often the more a pool holds", () => {
    let passes = 0;
    const index = { size: 5_000_000, changes: 0, scanHashes: () => void passes++ };
    const keeper = new SketchKeeper(index);
    keeper.sendUnlessKnown(0, 10_000);
    const before = passes;
    index.changes++;
    expect(keeper.sendUnlessKnown(0, 14_999).sketchVersion).toBe(10_000);
    expect(passes).toBe(before);
    expect(keeper.sendUnlessKnown(0, 15_000).sketchVersion).toBe(15_000);
  });
});
