import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DEFAULT_SCHEDULE } from "../../../src/prefix/segment.ts";
import { buildSketch, Sketch } from "../../../src/residency/sketch.ts";
import { choosePool, type PoolSight } from "../../../src/edge/rank-pools.ts";
import type { PoolLoad } from "../../../src/router/card.ts";
import { hashes } from "../residency/hashes.ts";

const ends = (length: number): Uint32Array => Uint32Array.from({ length }, (_, depth) => (depth + 1) * 256);
const prompt = hashes(64, 1);
const chain = { hashes: prompt, ends: ends(64) };
const promptBytes = 64 * 256;

function sketchOf(held: BigUint64Array): Sketch | null {
  const halves = new Int32Array(held.buffer, held.byteOffset, held.length * 2);
  return Sketch.parse(
    buildSketch({
      scanHashes: (visit) => {
        for (let at = 0; at < halves.length; at += 2) visit(halves[at + 1] ?? 0, halves[at] ?? 0);
      },
    }),
  );
}

interface Some {
  region?: string;
  ageMs?: number;
  rttMs?: number;
  bookedMs?: number;
  sentSegments?: number;
  replicas?: number;
  holds?: number;
  load?: Partial<PoolLoad>;
}

/** 1 ms a token, 4 bytes a token. */
function sight(pool: string, some: Some = {}): PoolSight {
  const { region = "eu", ageMs = 0, rttMs = 5, bookedMs = 0, sentSegments = 0, replicas = 2, holds = 0 } = some;
  const load = {
    queueMs: 0,
    inFlight: 0,
    waiting: 0,
    decisionsPerSecond: 0,
    fullShare: 0,
    prefillMsPerToken: 1,
    bytesPerToken: 4,
    ...some.load,
  };
  const hashSpec = { version: 1, schedule: DEFAULT_SCHEDULE, order: "system-then-tools" } as const;
  const card = { pool, model: "chat", createdAtSeconds: 0, hashSpec, replicas, load };
  const sketch = holds === 0 ? null : sketchOf(prompt.slice(0, holds));
  return { card, region, ageMs, rttMs, bookedMs, sentSegments, sketch, chain };
}

const ask = (draw = 0) => ({ promptBytes, draw });
const first = (sights: PoolSight[], draw = 0): string | undefined => choosePool(sights, ask(draw)).order[0]?.pool;

describe("the pool", () => {
  it("that holds the prefix, though it is farther and busier, as long as that is quicker", () => {
    const near = sight("near", { region: "eu", rttMs: 2 });
    const holder = (queueMs: number) => sight("far", { region: "us", rttMs: 80, holds: 60, load: { queueMs } });
    // It saves 60 × 64 tokens of 1 ms, and is two round trips of 80 ms away.
    expect(first([near, holder(3_600)])).toBe("far");
    expect(first([near, holder(3_760)])).toBe("near");
  });

  it("that was sent the conversation's last turn has it, before its sketch says so", () => {
    const { order } = choosePool(
      [sight("near", { region: "us", rttMs: 2 }), sight("sent", { sentSegments: 16, load: { queueMs: 900 } })],
      ask(),
    );
    expect(order[0]).toMatchObject({ pool: "sent", heldTokens: 1_024 });
  });

  it("has its predicted time explained in parts", () => {
    const { order, reason } = choosePool([sight("a", { holds: 32, rttMs: 10, load: { queueMs: 20 } })], ask());
    expect(order[0]).toMatchObject({
      pool: "a",
      rttMs: 10,
      wayMs: 20,
      queueMs: 20,
      prefillMs: 2_048,
      awayMs: 0,
      heldTokens: 2_048,
      promptTokens: 4_096,
    });
    expect(order[0]?.predictedMs).toBe(2 * 10 + 20 + 2_048);
    expect(reason).toBe(
      "a holds ~2,048 of ~4,096 prompt tokens; 20 ms of way, 20 ms of queue, 2,048 ms of prefill; no other pool serves this model",
    );
  });

  it("is compared with the next best in one sentence", () => {
    const { reason } = choosePool(
      [sight("a", { holds: 32 }), sight("b", { region: "us", rttMs: 90 }), sight("c", { region: "ap" })],
      ask(),
    );
    expect(reason).toBe(
      "a holds ~2,048 of ~4,096 prompt tokens; 10 ms of way, 0 ms of queue, 2,048 ms of prefill: 2,058 ms against 4,106 ms in c and 1 more",
    );
  });

  it("without replicas or not heard of comes last, in this order", () => {
    const sights = [
      sight("empty", { replicas: 0, holds: 64 }),
      sight("silent", { ageMs: 60_000, holds: 64 }),
      sight("slow", { rttMs: 500 }),
    ];
    const { order } = choosePool(sights, ask());
    expect(order.map(({ pool, barred }) => [pool, barred])).toEqual([
      ["slow", null],
      ["silent", "silent"],
      ["empty", "no replica"],
    ]);
  });

  it("is believed less the older its card is", () => {
    const busy = (ageMs: number) => sight("busy", { region: "us", ageMs, rttMs: 0, load: { queueMs: 900 } });
    const idle = sight("idle", { rttMs: 250, load: { queueMs: 0 } });
    expect(first([busy(0), idle])).toBe("idle");
    // By now its queue is taken for the mean, 450 ms.
    expect(first([busy(14_000), idle])).toBe("busy");
  });

  it("is near for a conversation that will come back, whose every turn goes the same way", () => {
    const load = { prefillMsPerToken: 0.1, reusedShare: 0.75 };
    const sights = [sight("near", { region: "us", rttMs: 2, load }), sight("far", { rttMs: 60, holds: 60, load })];
    // Once there 384 ms are saved for 116; three more turns make that 464.
    expect(first(sights)).toBe("far");
    expect(choosePool(sights, { ...ask(), goesOn: true }).order[0]).toMatchObject({ pool: "near", wayMs: 16 });
  });

  it("that has computed nothing yet is taken for as fast as the others, so that it will", () => {
    const learnt = sight("learnt", { region: "us", rttMs: 80, load: { prefillMsPerToken: 0.05 } });
    const fresh = (guessed: boolean) => sight("fresh", { rttMs: 2, load: { prefillMsPerToken: 1, ...(guessed ? { guessed } : {}) } });
    expect(first([learnt, fresh(true)])).toBe("fresh");
    expect(first([learnt, fresh(false)])).toBe("learnt");
  });

  it("where a prefill does less to others", () => {
    const sights = [sight("busy", { rttMs: 2, load: { harmPerMs: 0.5 } }), sight("calm", { region: "us", rttMs: 80 })];
    expect(choosePool(sights, ask()).order).toMatchObject([
      { pool: "calm", harmMs: 0 },
      { pool: "busy", harmMs: 2_048 },
    ]);
  });

  it("where tokens come quicker, who was sent there since counted", () => {
    const load = { prefillMsPerToken: 0.01, inFlight: 10, decodeMs: 100, decodeMsPerToken: 0.05 };
    const sights = (bookedRequests: number) => [
      { ...sight("calm", { rttMs: 2, load }), bookedRequests },
      sight("busy", { region: "us", rttMs: 2, load: { ...load, decodeMs: 300 } }),
    ];
    // Half of 100 + 4,096 · 0.05, and of that as much again for each 10 that were sent there.
    const { order, reason } = choosePool(sights(0), ask());
    expect(order[0]).toMatchObject({ pool: "calm", decodeMs: 152.4 });
    expect(reason).toContain("152 ms for the pace there");
    expect(choosePool(sights(10), ask()).order).toMatchObject([{ pool: "busy" }, { pool: "calm", decodeMs: 304.8 }]);
  });

  it("is the nearest once the ways to a prefix have cost twice what computing it there would", () => {
    const load = { prefillMsPerToken: 0.1 };
    const sights = [sight("near", { region: "us", rttMs: 2, load }), sight("far", { rttMs: 62, holds: 64, load })];
    const far = choosePool(sights, ask());
    expect(far.order[0]?.pool).toBe("far");
    expect(far.extraWayMs).toBe(120);
    // 410 ms of prefill less half of it against 120 ms of way.
    expect(choosePool(sights, { ...ask(), paidMs: 560 }).order[0]?.pool).toBe("far");
    const near = choosePool(sights, { ...ask(), paidMs: 800 });
    expect(near.order[0]).toMatchObject({ pool: "near", paidMs: 400 });
    expect(near.extraWayMs).toBe(0);
    expect(near.reason).toContain("less 400 ms that ways elsewhere have cost");
  });

  it("that is far because the near one is busy pays for no prefix", () => {
    const sights = [sight("near", { rttMs: 2, holds: 64, load: { queueMs: 5_000 } }), sight("far", { region: "us", rttMs: 62, holds: 64 })];
    expect(choosePool(sights, ask())).toMatchObject({ order: [{ pool: "far" }, { pool: "near" }], extraWayMs: 0 });
  });

  it("counts attention: of a long prompt the last tokens are the dearest", () => {
    const load = { prefillMsPerToken: 0, attentionMsPerPair: 1e-4 };
    const { order } = choosePool([sight("a", { load, sentSegments: 32 })], ask());
    // 2,048 tokens behind 2,048: 2,048 · (2,048 + 1,024) pairs.
    expect(order[0]?.prefillMs).toBeCloseTo(2_048 * 3_072 * 1e-4, 6);
  });

  it("has what this edge sent there since, shared by its replicas", () => {
    const { order } = choosePool([sight("a", { bookedMs: 1_000, replicas: 4 })], ask());
    expect(order[0]?.queueMs).toBe(250);
  });
});

describe("equals", () => {
  it("in different regions are settled by the draw", () => {
    const sights = [sight("a", { region: "eu" }), sight("b", { region: "us" }), sight("c", { region: "ap" })];
    const chosen = new Set([0.1, 0.5, 0.9].map((draw) => first(sights, draw)));
    expect(chosen).toEqual(new Set(["a", "b", "c"]));
  });

  it("in one region go to the home of the head, whatever the draw", () => {
    const sights = Array.from({ length: 6 }, (_, index) => sight(`p${index}`));
    const chosen = new Set(Array.from({ length: 20 }, (_, turn) => first(sights, turn / 20)));
    expect(chosen.size).toBe(1);
  });

  it("leave the home of a hot head only when its queue is longer than computing the head once more, and then by the draw", () => {
    const sights = (queues: number[]) => queues.map((queueMs, index) => sight(`p${index}`, { load: { queueMs } }));
    const queues = [0, 0, 0, 0, 0, 0];
    const home = Number(first(sights(queues))?.slice(1));
    // 2 KiB are 512 ms.
    queues[home] = 400;
    expect(first(sights(queues))).toBe(`p${home}`);
    queues[home] = 700;
    const draws = Array.from({ length: 300 }, (_, number) => number / 300);
    const chosen = draws.map((draw) => first(sights(queues), draw));
    const others = [0, 1, 2, 3, 4, 5]
      .filter((index) => index !== home)
      .map((index) => chosen.filter((pool) => pool === `p${index}`).length);
    for (const times of others) expect(times).toBeGreaterThan(300 / 5 / 3);
    expect(others.reduce((sum, times) => sum + times, 0)).toBe(300);
    expect(first(sights(queues), 0.37)).toBe(first(sights(queues), 0.37));
  });
});

describe("an object near its limit", () => {
  const draws = Array.from({ length: 1_000 }, (_, number) => number / 1_000);

  it("sends away what holds a prefix there only for the excess", () => {
    const sights = (decisionsPerSecond: number) => [
      sight("holder", { holds: 20, load: { decisionsPerSecond, prefillMsPerToken: 0.05 } }),
      sight("other", { load: { prefillMsPerToken: 0.05 } }),
    ];
    const away = (busy: number): number => draws.filter((draw) => first(sights(busy), draw) === "other").length / draws.length;
    expect(away(840)).toBe(0);
    expect(away(1_000)).toBeCloseTo(0.15, 1);
    expect(away(1_200)).toBeCloseTo(0.29, 1);
  });
});

it("is one of those given, each once, the best by predicted time within the tolerance", () => {
  const one = fc.record({
    region: fc.constantFrom("eu", "us"),
    ageMs: fc.integer({ min: 0, max: 20_000 }),
    rttMs: fc.integer({ min: 0, max: 300 }),
    replicas: fc.integer({ min: 0, max: 3 }),
    holds: fc.integer({ min: 0, max: 64 }),
    load: fc.record({ queueMs: fc.integer({ min: 0, max: 5_000 }) }),
  });
  const property = fc.property(fc.array(one, { maxLength: 6 }), fc.double({ min: 0, max: 0.999, noNaN: true }), (somes, draw) => {
    const sights = somes.map((some, index) => sight(`p${index}`, some));
    const { order, reason } = choosePool(sights, ask(draw));
    expect(order.map(({ pool }) => pool).toSorted()).toEqual(sights.map(({ card }) => card.pool).toSorted());
    expect(reason.length).toBeLessThan(400);
    const open = order.filter(({ barred }) => barred === null);
    if (open[0] !== undefined) expect(order[0]).toBe(open[0]);
    // Two regions of two pools at most: all are home.
    const least = Math.min(...open.map(({ predictedMs }) => predictedMs));
    if (open[0] !== undefined && sights.length <= 2) expect(open[0].predictedMs).toBeLessThanOrEqual(least * 1.02 + 1);
  });
  fc.assert(property, { seed: 6, numRuns: 300 });
});
