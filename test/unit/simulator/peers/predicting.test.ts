/** Rules that add up costs. */
import { describe, expect, it } from "vitest";
import { dynamoLinear, potentialDecodeBlocks } from "../../../../simulator/peers/dynamo-linear.ts";
import { lmetricDynamo } from "../../../../simulator/peers/lmetric-dynamo.ts";
import { lmetric } from "../../../../simulator/peers/lmetric.ts";
import { minTtft, predictedTtftMs } from "../../../../simulator/peers/min-ttft.ts";
import { ask, draws, loaded, noDraw, sight } from "./sights.ts";

describe("minimum TTFT", () => {
  it("adds up what is ahead, its own prefill and the steps", () => {
    const busy = sight(0, {
      deviceTokens: 1_000,
      runningRequests: 10,
      activePrefillTokens: 6_000,
      activePrefillPairs: 2_000_000,
      activeDecodeTokens: 20_000,
      attentionMsPerPair: 1e-5,
      decodeMsPerSequence: 0.1,
      decodeMsPerContextToken: 1e-4,
    });
    // u = 4,000 - 1,000 = 3,000. Ahead: 0.05 * 6,000 + 1e-5 * 2,000,000 = 320. Own: 0.05 * 3,000 + 1e-5 * 3,000 * (1,000 + 1,500) = 150 + 75.
    // Steps: ceil(9,000 / (8,192 - 10)) = 2, each 5 + 0.1 * 10 + 1e-4 * 20,000 = 8. Sum: 320 + 225 + 16.
    expect(predictedTtftMs(ask(4_000), busy)).toBeCloseTo(561, 9);
  });

  it("leaves a prefix whose queue costs more than computing it again, by one token", () => {
    // Warm: 0.05 * (ahead + 100) + 5; cold: 0.05 * 1,100 + 5. Even at 1,000 tokens ahead.
    const warm = (ahead: number) => sight(0, { deviceTokens: 1_000, activePrefillTokens: ahead });
    expect(minTtft().choose(ask(1_100), [warm(999), sight(1)], noDraw)).toBe(0);
    expect(minTtft().choose(ask(1_100), [warm(1_001), sight(1)], noDraw)).toBe(1);
    expect(minTtft().choose(ask(1_100), [warm(1_000), sight(1)], draws(0.7))).toBe(1);
  });

  it("loads from the host where that is quicker than computing, and only there", () => {
    const host = (hostLoadMsPerToken: number) => sight(0, { hostTokens: 1_000, hostLoadMsPerToken });
    // Loading 1,000 tokens: 10 ms or 60 ms; computing them: 50 ms. 100 more tokens: 5 ms, a step: 5 ms.
    expect(predictedTtftMs(ask(1_100), host(0.01))).toBeCloseTo(20, 9);
    expect(predictedTtftMs(ask(1_100), host(0.06))).toBeCloseTo(60, 9);
    expect(predictedTtftMs(ask(1_100), host(Infinity))).toBeCloseTo(60, 9);
  });

  it("computes at least one token", () => {
    expect(predictedTtftMs(ask(160), sight(0, { deviceTokens: 160 }))).toBeCloseTo(5.05, 9);
  });

  it("counts a step more when the prompt no longer fits", () => {
    // 8,192 tokens are one step, 8,193 two; with one decoding, 8,191 and 8,192.
    expect(predictedTtftMs(ask(8_192), sight(0))).toBeCloseTo(409.6 + 5, 9);
    expect(predictedTtftMs(ask(8_193), sight(0))).toBeCloseTo(409.65 + 10, 9);
    expect(predictedTtftMs(ask(8_192), loaded(0, 1))).toBeCloseTo(409.6 + 10, 9);
  });
});

describe("Dynamo, linear", () => {
  it("credits the overlap once", () => {
    // Blocks of 16; prompt 100. Warm: raw 100 - 60 = 40, decode 0 + 100: 140. Cold: 100 + 100 = 200.
    expect(dynamoLinear().choose(ask(1_600), [sight(0), sight(1, { deviceTokens: 960 })], noDraw)).toBe(1);
  });

  it("weighs blocks in flight one to one with cached ones", () => {
    // Warm: 140 + active. Cold: 200. Even at 60 active blocks (960 tokens).
    const warm = (liveKvTokens: number) => sight(0, { deviceTokens: 960, liveKvTokens });
    expect(dynamoLinear().choose(ask(1_600), [warm(59 * 16), sight(1)], noDraw)).toBe(0);
    expect(dynamoLinear().choose(ask(1_600), [warm(61 * 16), sight(1)], noDraw)).toBe(1);
    expect(dynamoLinear().choose(ask(1_600), [warm(60 * 16), sight(1)], draws(0.2))).toBe(0);
    expect(dynamoLinear().choose(ask(1_600), [warm(60 * 16), sight(1)], draws(0.5))).toBe(1);
  });

  it("credits host at 0.75 and disk at 0.25, beyond the faster tiers", () => {
    // A: device 20, host 40 more: 20 + 30 = 50. B: device 45, disk 16 more: 45 + 4 = 49. C: device 45, disk 20 more: 45 + 5 = 50.
    const a = sight(0, { deviceTokens: 320, hostTokens: 960 });
    const b = sight(1, { deviceTokens: 720, hostTokens: 720, diskTokens: 976 });
    const c = sight(2, { deviceTokens: 720, hostTokens: 720, diskTokens: 1_040 });
    expect(dynamoLinear().choose(ask(1_600), [b, a], noDraw)).toBe(1);
    expect(dynamoLinear().choose(ask(1_600), [c, a], draws(0.4))).toBe(0);
  });

  it("lets the credit reach into prefills in flight, but not below nothing", () => {
    // Prompt 10 blocks, all held; 160 tokens of other prefills: raw 20 - 10 = 10, decode 10: 20. Empty replica: 10 + 10 = 20. A tie.
    const busy = sight(0, { deviceTokens: 160, activePrefillTokens: 160 });
    expect(dynamoLinear().choose(ask(160), [busy, sight(1)], draws(0.6))).toBe(1);
    // 159 tokens: 19.9375 - 10 = 9.9375.
    expect(dynamoLinear().choose(ask(160), [sight(0, { deviceTokens: 160, activePrefillTokens: 159 }), sight(1)], noDraw)).toBe(0);
  });

  it("counts a block that others in flight use once", () => {
    // 1,000 live tokens: 63 blocks. Prompt 1,601: 101 blocks, 30 of them (495 tokens) in use there.
    expect(potentialDecodeBlocks(ask(1_601), sight(0, { liveKvTokens: 1_000, liveOverlapTokens: 495 }))).toBe(63 + 101 - 30);
  });
});

describe("LMetric", () => {
  it("multiplies what is uncached by those in flight and this one", () => {
    // 400 * (3 + 1) = 1,600 against 1,000 * (0 + 1) = 1,000.
    expect(lmetric().choose(ask(1_000), [loaded(0, 3, { deviceTokens: 600 }), sight(1)], noDraw)).toBe(1);
    // 400 * (1 + 1) = 800.
    expect(lmetric().choose(ask(1_000), [loaded(0, 1, { deviceTokens: 600 }), sight(1)], noDraw)).toBe(0);
  });

  it("turns at the product, by one token", () => {
    // 2 * u against 1,000.
    expect(lmetric().choose(ask(1_000), [loaded(0, 1, { deviceTokens: 501 }), sight(1)], noDraw)).toBe(0);
    expect(lmetric().choose(ask(1_000), [loaded(0, 1, { deviceTokens: 499 }), sight(1)], noDraw)).toBe(1);
    expect(lmetric().choose(ask(1_000), [loaded(0, 1, { deviceTokens: 500 }), sight(1)], draws(0.5))).toBe(1);
  });

  it("counts those waiting, and an overlap of any tier", () => {
    const waiting = sight(0, { waitingRequests: 1, diskTokens: 501 });
    expect(lmetric().choose(ask(1_000), [waiting, sight(1)], noDraw)).toBe(0);
    expect(lmetric().choose(ask(1_000), [{ ...waiting, diskTokens: 499 }, sight(1)], noDraw)).toBe(1);
  });

  it("still sees the load where all is held", () => {
    // 1 * (5 + 1) against 1 * (4 + 1).
    expect(lmetric().choose(ask(160), [loaded(0, 5, { deviceTokens: 160 }), loaded(1, 4, { deviceTokens: 160 })], noDraw)).toBe(1);
  });
});

describe("LMetric, Dynamo's form", () => {
  it("multiplies adjusted prefill by decode blocks", () => {
    // Prompt 10 blocks. Warm: (10 - 5) * (15 + 10 + 1) = 130. Cold: 10 * (0 + 10 + 1) = 110.
    expect(lmetricDynamo().choose(ask(160), [sight(0, { deviceTokens: 80, liveKvTokens: 240 }), sight(1)], noDraw)).toBe(1);
    // 10 blocks live: 5 * 21 = 105.
    expect(lmetricDynamo().choose(ask(160), [sight(0, { deviceTokens: 80, liveKvTokens: 160 }), sight(1)], noDraw)).toBe(0);
  });

  it("ties at 11 live blocks", () => {
    // 5 * (11 + 10 + 1) = 110.
    const even = [sight(0, { deviceTokens: 80, liveKvTokens: 176 }), sight(1)];
    expect(lmetricDynamo().choose(ask(160), even, draws(0.4))).toBe(0);
    expect(lmetricDynamo().choose(ask(160), even, draws(0.6))).toBe(1);
    // 12: 5 * 23 = 115.
    expect(lmetricDynamo().choose(ask(160), [sight(0, { deviceTokens: 80, liveKvTokens: 177 }), sight(1)], noDraw)).toBe(1);
  });

  it("puts the prefills in flight into the first factor", () => {
    // 160 tokens ahead: (10 + 10 - 5) * 11 = 165; 79 ahead: (4.9375 + 10 - 5) * 11 = 109.3.
    expect(lmetricDynamo().choose(ask(160), [sight(0, { deviceTokens: 80, activePrefillTokens: 160 }), sight(1)], noDraw)).toBe(1);
    expect(lmetricDynamo().choose(ask(160), [sight(0, { deviceTokens: 80, activePrefillTokens: 79 }), sight(1)], noDraw)).toBe(0);
  });

  it("is blind to decoding where the prompt is held whole", () => {
    // 0 * anything = 0: the rule as it is.
    const held = [sight(0, { deviceTokens: 160, liveKvTokens: 90_000 }), sight(1, { deviceTokens: 160 })];
    expect(lmetricDynamo().choose(ask(160), held, draws(0.1))).toBe(0);
  });
});
