/** Rules that score matches against loads. */
import { describe, expect, it } from "vitest";
import { aibrix } from "../../../../simulator/peers/aibrix.ts";
import { llmDPrecise } from "../../../../simulator/peers/llm-d-precise.ts";
import { llmD } from "../../../../simulator/peers/llm-d.ts";
import { loadaware } from "../../../../simulator/peers/loadaware.ts";
import { smgCacheAware } from "../../../../simulator/peers/smg-cache-aware.ts";
import { smgEvents } from "../../../../simulator/peers/smg-events.ts";
import { ask, draws, loaded, noDraw, sight } from "./sights.ts";

describe("llm-d, 3/2/2", () => {
  it("lets a short queue win against a match of less than two thirds", () => {
    // Prompt 60 blocks. Warm, the longest queue: 3 * 40/60 + 0 + 2 = 4; cold, the shortest: 0 + 2 + 2 = 4. Even at 40 blocks.
    const warm = (blocks: number) => sight(0, { deviceTokens: blocks * 16, waitingRequests: 1 });
    expect(llmD().choose(ask(960), [warm(41), sight(1)], noDraw)).toBe(0);
    expect(llmD().choose(ask(960), [warm(39), sight(1)], noDraw)).toBe(1);
    expect(llmD().choose(ask(960), [warm(40), sight(1)], draws(0.9))).toBe(1);
  });

  it("scales the queue between the shortest and the longest", () => {
    // Queues 0, 5, 10: scores 1, 0.5, 0. A: 2 * 1 = 2. B: 3 * 20/60 + 2 * 0.5 = 2. C: 3 * 39/60 + 0 = 1.95. All kv: 2.
    const sights = [
      sight(0),
      sight(1, { waitingRequests: 5, deviceTokens: 320 }),
      sight(2, { waitingRequests: 10, deviceTokens: 39 * 16 }),
    ];
    expect(llmD().choose(ask(960), sights, draws(0.3))).toBe(0);
    expect(llmD().choose(ask(960), sights, draws(0.6))).toBe(1);
  });

  it("scores equal queues 1, so that they do not matter", () => {
    // Equal queues of 7: 3 * 1/60 more for the one that holds a block.
    expect(llmD().choose(ask(960), [sight(0, { waitingRequests: 7 }), sight(1, { waitingRequests: 7, deviceTokens: 16 })], noDraw)).toBe(1);
  });

  it("takes the emptier KV cache, by what requests hold, not by what is cached", () => {
    // Usage 0.30 against 0.29; what is cached besides does not count.
    const sights = [sight(0, { liveKvTokens: 30_000, kvUsedTokens: 30_000 }), sight(1, { liveKvTokens: 29_000, kvUsedTokens: 99_000 })];
    expect(llmD().choose(ask(960), sights, noDraw)).toBe(1);
    // 3 * 1/3 = 1 = 2 * 0.5: even.
    const full = [sight(0, { liveKvTokens: 50_000, deviceTokens: 320 }), sight(1)];
    expect(llmD().choose(ask(960), full, draws(0.7))).toBe(1);
  });

  it("counts a block whole whatever its tier, and full blocks only", () => {
    expect(llmD().choose(ask(960), [sight(0, { hostTokens: 32 }), sight(1, { deviceTokens: 31 })], noDraw)).toBe(0);
    // A prompt of 15 tokens has no full block.
    expect(llmD().choose(ask(15), [sight(0, { deviceTokens: 15 }), sight(1)], draws(0.8))).toBe(1);
  });
});

describe("llm-d, 2/1/1", () => {
  it("needs a match of half the prompt against the longest queue", () => {
    // 2 * 30/60 = 1 = the queue's score. Even at 30 blocks.
    const warm = (blocks: number) => sight(0, { deviceTokens: blocks * 16, waitingRequests: 1 });
    expect(llmDPrecise().choose(ask(960), [warm(31), sight(1)], noDraw)).toBe(0);
    expect(llmDPrecise().choose(ask(960), [warm(29), sight(1)], noDraw)).toBe(1);
    expect(llmDPrecise().choose(ask(960), [warm(30), sight(1)], draws(0.5))).toBe(1);
  });

  it("counts a block in host memory 0.8", () => {
    // 10 host blocks: 8. Against 7 and 9 on the device.
    const host = sight(0, { hostTokens: 160 });
    expect(llmDPrecise().choose(ask(960), [host, sight(1, { deviceTokens: 7 * 16 })], noDraw)).toBe(0);
    expect(llmDPrecise().choose(ask(960), [host, sight(1, { deviceTokens: 9 * 16 })], noDraw)).toBe(1);
  });

  it("counts a block on disk 1, as its list of tiers has it", () => {
    expect(llmDPrecise().choose(ask(960), [sight(0, { diskTokens: 160 }), sight(1, { deviceTokens: 9 * 16 })], noDraw)).toBe(0);
  });

  it("weighs the KV cache 1", () => {
    // 2 * 12/60 = 0.4 against 1 * 0.4: 0.39 and 0.41.
    const warm = (liveKvTokens: number) => sight(0, { deviceTokens: 12 * 16, liveKvTokens });
    expect(llmDPrecise().choose(ask(960), [warm(39_000), sight(1)], noDraw)).toBe(0);
    expect(llmDPrecise().choose(ask(960), [warm(41_000), sight(1)], noDraw)).toBe(1);
  });
});

describe("SMG cache_aware", () => {
  it("follows the best match above 0.3 of the prompt, not at it", () => {
    const warm = (deviceTokens: number) => loaded(0, 60, { deviceTokens });
    expect(smgCacheAware().choose(ask(1_000), [warm(301), sight(1)], noDraw)).toBe(0);
    expect(smgCacheAware().choose(ask(1_000), [warm(300), sight(1)], noDraw)).toBe(1);
  });

  it("leaves it once loads differ by more than 64 and by more than half", () => {
    const warm = (load: number) => loaded(0, load, { deviceTokens: 1_000 });
    // 64 apart: balanced. 65 apart and 65 > 0: not.
    expect(smgCacheAware().choose(ask(1_000), [warm(64), sight(1)], noDraw)).toBe(0);
    expect(smgCacheAware().choose(ask(1_000), [warm(65), sight(1)], noDraw)).toBe(1);
    // 195 = 1.5 * 130, 65 apart: balanced. 196 is more.
    expect(smgCacheAware().choose(ask(1_000), [warm(195), loaded(1, 130)], noDraw)).toBe(0);
    expect(smgCacheAware().choose(ask(1_000), [warm(196), loaded(1, 130)], noDraw)).toBe(1);
  });

  it("gives equal matches to the lower load", () => {
    const sights = [loaded(0, 3, { deviceTokens: 500 }), loaded(1, 2, { deviceTokens: 500 }), sight(2, { deviceTokens: 499 })];
    expect(smgCacheAware().choose(ask(1_000), sights, noDraw)).toBe(1);
  });

  it("breaks ties of the least load by what was given so far, then by order", () => {
    const policy = smgCacheAware();
    const idle = [sight(5), sight(6), sight(7)];
    expect([1, 2, 3, 4].map(() => policy.choose(ask(1_000), idle, noDraw))).toEqual([0, 1, 2, 0]);
  });
});

describe("SMG with events", () => {
  it("lets any overlap win, a block is enough", () => {
    expect(smgEvents().choose(ask(1_000), [sight(0), loaded(1, 60, { deviceTokens: 16 })], noDraw)).toBe(1);
    // 15 tokens are no block: least load.
    expect(smgEvents().choose(ask(1_000), [sight(0), loaded(1, 60, { deviceTokens: 15 })], noDraw)).toBe(0);
  });

  it("looks at the balance first", () => {
    expect(smgEvents().choose(ask(1_000), [sight(0), loaded(1, 64, { deviceTokens: 1_000 })], noDraw)).toBe(1);
    expect(smgEvents().choose(ask(1_000), [sight(0), loaded(1, 65, { deviceTokens: 1_000 })], noDraw)).toBe(0);
  });

  it("compares blocks, then load, then the tree", () => {
    // 320 and 335 tokens are 20 blocks both.
    const byLoad = [loaded(0, 4, { deviceTokens: 335 }), loaded(1, 3, { deviceTokens: 320 })];
    expect(smgEvents().choose(ask(1_000), byLoad, noDraw)).toBe(1);
    const byTree = [loaded(0, 3, { deviceTokens: 320, treeTokens: 900 }), loaded(1, 3, { deviceTokens: 320, treeTokens: 901 })];
    expect(smgEvents().choose(ask(1_000), byTree, noDraw)).toBe(0);
  });

  it("takes the last of equals, but the first without overlap", () => {
    const equals = [sight(0, { deviceTokens: 320 }), sight(1, { deviceTokens: 320 }), sight(2)];
    expect(smgEvents().choose(ask(1_000), equals, noDraw)).toBe(1);
    expect(smgEvents().choose(ask(1_000), [sight(0), sight(1)], noDraw)).toBe(0);
  });
});

describe("AIBrix prefix-cache", () => {
  it("goes by requests alone once they differ by more than 8", () => {
    // 8 apart: mean 4, sigma 5.66, limit 9.66: the warm one is in. 9 apart: least requests.
    expect(aibrix().choose(ask(1_000), [loaded(0, 8, { deviceTokens: 900 }), sight(1)], noDraw)).toBe(0);
    expect(aibrix().choose(ask(1_000), [loaded(0, 9, { deviceTokens: 900 }), sight(1)], noDraw)).toBe(1);
  });

  it("passes over a match that is busier than mean and one sigma", () => {
    // Loads 4, 2, 2, 2: mean 2.5, sigma of the sample sqrt(3 / 3) = 1, limit 3.5.
    const busy = (load: number) => [
      loaded(0, load, { deviceTokens: 900 }),
      loaded(1, 2, { deviceTokens: 100 }),
      loaded(2, 2),
      loaded(3, 2),
    ];
    expect(aibrix().choose(ask(1_000), busy(4), noDraw)).toBe(1);
    // Loads 2, 2, 2, 2: sigma 0, limit 2: at the limit it is taken.
    expect(aibrix().choose(ask(1_000), busy(2), noDraw)).toBe(0);
  });

  it("takes sigma of a sample", () => {
    // Loads 3, 2, 0: mean 1.67, sigma sqrt(4.67 / 2) = 1.53, limit 3.19; of the whole it would be 1.25, limit 2.91.
    expect(aibrix().choose(ask(1_000), [loaded(0, 3, { deviceTokens: 900 }), loaded(1, 2), sight(2)], noDraw)).toBe(0);
  });

  it("compares whole percents, then requests", () => {
    // 909 and 901 of 1,000 are 90 % both.
    const sights = [loaded(0, 2, { deviceTokens: 909 }), loaded(1, 1, { deviceTokens: 901 })];
    expect(aibrix().choose(ask(1_000), sights, noDraw)).toBe(1);
    const better = [loaded(0, 2, { deviceTokens: 910 }), loaded(1, 1, { deviceTokens: 901 })];
    // Loads 2, 1: mean 1.5, sigma 0.71, limit 2.21.
    expect(aibrix().choose(ask(1_000), better, noDraw)).toBe(0);
  });

  it("takes the least requests where nobody matches or every match is too busy", () => {
    expect(aibrix().choose(ask(1_000), [loaded(0, 1), sight(1)], noDraw)).toBe(1);
    expect(aibrix().choose(ask(1_000), [loaded(0, 4, { deviceTokens: 900 }), loaded(1, 2), loaded(2, 1), loaded(3, 2)], noDraw)).toBe(2);
  });

  it("draws among equals", () => {
    const equals = [sight(0, { deviceTokens: 500 }), sight(1), sight(2, { deviceTokens: 500 })];
    expect(aibrix().choose(ask(1_000), equals, draws(0.49))).toBe(0);
    expect(aibrix().choose(ask(1_000), equals, draws(0.5))).toBe(2);
    expect(aibrix().choose(ask(1_000), [sight(0), sight(1)], draws(0.5))).toBe(1);
  });
});

describe("loadaware", () => {
  it("trades a share of the prompt for a share of the mean load", () => {
    // Loads 6 and 4, mean 5: relative 0.2 and -0.2. Even at a match of 0.4.
    const warm = (deviceTokens: number) => [loaded(0, 6, { deviceTokens }), loaded(1, 4)];
    expect(loadaware().choose(ask(1_000), warm(401), noDraw)).toBe(0);
    expect(loadaware().choose(ask(1_000), warm(399), noDraw)).toBe(1);
  });

  it("divides by 1 at least", () => {
    // Loads 1, 0, 0, 0: mean 0.25. Relative 0.75 and -0.25: the match must be more than 1. Loads 1, 0: 0.5 and -0.5: more than 1, too.
    expect(loadaware().choose(ask(1_000), [loaded(0, 1, { deviceTokens: 999 }), sight(1), sight(2), sight(3)], noDraw)).toBe(1);
    // A match of 1 is even: 1 - 0.75 = 0 + 0.25, the first name. Divided by 0.25 it would be 1 - 3 against 1.
    expect(loadaware().choose(ask(1_000), [loaded(0, 1, { deviceTokens: 1_000 }), sight(1), sight(2), sight(3)], noDraw)).toBe(0);
    // Loads 2, 1: mean 1.5. Relative 1/3 and -1/3: 0.7 is enough.
    expect(loadaware().choose(ask(1_000), [loaded(0, 2, { deviceTokens: 700 }), loaded(1, 1)], noDraw)).toBe(0);
  });

  it("counts a match for the prompt at most, of any tier", () => {
    // 1,200 of 1,000 is 1, no more: 1 - 0.25 against 0.5 + 0.25: even, the first name.
    const sights = [loaded(0, 5, { diskTokens: 1_200 }), loaded(1, 3, { deviceTokens: 500 })];
    expect(loadaware().choose(ask(1_000), sights, noDraw)).toBe(0);
    expect(loadaware().choose(ask(1_000), [loaded(0, 5, { diskTokens: 999 }), loaded(1, 3, { deviceTokens: 500 })], noDraw)).toBe(1);
  });

  it("gives a tie to the first name, whatever the order", () => {
    expect(loadaware().choose(ask(1_000), [sight(2), sight(1), sight(3)], noDraw)).toBe(1);
  });
});
