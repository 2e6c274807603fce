import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { baseline } from "../../../simulator/peers/peers.ts";
import { streamOf } from "../../../simulator/chance.ts";
import { ENGINES, scaled } from "../../../simulator/constants.ts";
import { paced, type Plan } from "../../../simulator/plan.ts";
import { PLAIN, saturation } from "../../../simulator/saturation.ts";
import { type Chooser, DEFAULTS, type RunResult, simulate, type SimulationOptions } from "../../../simulator/simulate.ts";
import { steadyStart } from "../../../simulator/steady-start.ts";
import { WORKLOAD_NAMES, WORKLOADS } from "../../../simulator/workload.ts";
import { planOf, TOY } from "./plans.ts";

const OPTIONS: SimulationOptions = { ...DEFAULTS, engine: ENGINES["llama-8b-h100"], replicas: 4 };
const WARMPATH: Chooser = { kind: "product", profile: "cache-aware" };
const peer = (name: Parameters<typeof baseline>[0]): Chooser => ({ kind: "policy", policy: baseline(name) });

function plan(name: (typeof WORKLOAD_NAMES)[number], requests: number, perSecond: number, seed = 5): Plan {
  return paced(WORKLOADS[name](streamOf(seed, 7), requests), perSecond);
}

/** Every request has one end. */
function expectWhole(result: RunResult, requests: number): void {
  expect(result.endTimes.length + result.refused + result.cancelled).toBeLessThanOrEqual(requests);
  expect(result.completed + result.refused + result.cancelled).toBe(result.requests);
}

describe("a run", () => {
  it.each([WARMPATH, peer("lmetric"), peer("random")])("is the same for the same seed (%#)", (chooser) => {
    const run = (seed: number): RunResult => {
      const again: Chooser = chooser.kind === "policy" ? { kind: "policy", policy: chooser.policy } : chooser;
      return simulate(plan("shared-prefix", 300, 10), again, { ...OPTIONS, seed });
    };
    const { endTimes, ...rest } = run(1);
    const { endTimes: times, ...others } = run(1);
    expect(JSON.stringify(others)).toBe(JSON.stringify(rest));
    expect(times).toEqual(endTimes);
  });

  it.each(WORKLOAD_NAMES)("of the %s workload ends every request once", (name) => {
    const asked = plan(name, 300, 8);
    for (const chooser of [WARMPATH, peer("round-robin")]) {
      const result = simulate(asked, chooser, OPTIONS);
      expect(result.endTimes).toHaveLength(asked.requests.length);
      expectWhole(result, asked.requests.length);
      expect(result.hitShare).toBeLessThanOrEqual(1);
    }
  });

  it("reuses what one replica holds, up to what there is", () => {
    const asked = plan("shared-prefix", 600, 4);
    const one = simulate(asked, peer("round-robin"), { ...OPTIONS, replicas: 1, engine: { ...OPTIONS.engine, kvTokens: 4_000_000 } });
    // The first tenth is not measured, so that a run may reuse more than the whole plan could.
    expect(one.hitShare).toBeGreaterThanOrEqual(one.hitCeiling - 0.02);
    const spread = simulate(asked, peer("round-robin"), OPTIONS);
    expect(spread.hitShare).toBeLessThan(one.hitShare - 0.1);
  });

  it("does not give up more than the ceiling on one replica after another, whoever chooses", () => {
    const asked = plan("shared-prefix", 600, 8);
    expect(simulate(asked, WARMPATH, OPTIONS).hitShare).toBeGreaterThan(simulate(asked, peer("round-robin"), OPTIONS).hitShare + 0.1);
  });

  it("takes as long as steps do when there is one request", () => {
    const result = simulate(planOf([{ parts: [["a", 100]], outputTokens: 4 }]), peer("round-robin"), {
      ...OPTIONS,
      engine: TOY,
      rttMs: 6,
      bookingMs: 4,
    });
    expect(result.ttftMeanMs).toBeCloseTo(115 + 6 + 4);
    expect(result.tpotMeanMs).toBeCloseTo((36 + 3.06) / 3);
    expect(result.makespanMs).toBeCloseTo(115 + 39.06 + 10);
  });
});

describe("a fleet in trouble", () => {
  const asked = plan("conversation", 400, 6);

  it.each([WARMPATH, peer("round-robin")])("retries what a lost replica ran, and uses it when it is back (%#)", (chooser) => {
    const middleMs = 20_000;
    const turnover = [
      { atMs: middleMs, replica: 1, change: "leave" },
      { atMs: middleMs + 15_000, replica: 1, change: "join" },
    ] as const;
    const busy = plan("reasoning", 300, 8);
    const result = simulate(busy, chooser, { ...OPTIONS, turnover });
    expect(result.endTimes).toHaveLength(busy.requests.length);
    expect(result.retried).toBeGreaterThan(0);
    expect(result.refused).toBe(0);
  });

  it("heals lost residency frames: the index is what replicas hold", () => {
    const whole = simulate(asked, WARMPATH, OPTIONS);
    const lossy = simulate(asked, WARMPATH, { ...OPTIONS, eventLoss: 0.1 });
    expect(lossy.endTimes).toHaveLength(asked.requests.length);
    expect(lossy.hitShare).toBeGreaterThan(whole.hitShare - 0.05);
  });

  it("goes on with events that are seconds late, or with none, and first tokens come about as soon", () => {
    const busy = plan("reasoning", 600, 40);
    const inTime = simulate(busy, WARMPATH, OPTIONS);
    for (const change of [{ eventDelayMs: 5_000 }, { announced: false }]) {
      const result = simulate(busy, WARMPATH, { ...OPTIONS, ...change });
      expect(result.endTimes).toHaveLength(busy.requests.length);
      expect(result.ttftMeanMs).toBeLessThan(1.1 * inTime.ttftMeanMs);
    }
  });

  it("lets clients go who have waited too long, and computes no more for them", () => {
    const burst = paced(WORKLOADS.burst(streamOf(5, 7), 400), 200);
    for (const chooser of [WARMPATH, peer("least-loaded")]) {
      const result = simulate(burst, chooser, { ...OPTIONS, replicas: 1, patienceMs: 2_000 });
      // The product may say so before.
      expect(result.cancelled + result.refused).toBeGreaterThan(0);
      expect(result.ttftP99Ms).toBeLessThanOrEqual(2_000);
      expectWhole(result, burst.requests.length);
    }
  });

  it("knows less with more edges", () => {
    const single = simulate(asked, peer("least-loaded"), OPTIONS);
    const many = simulate(asked, peer("least-loaded"), { ...OPTIONS, edges: 16 });
    expect(many.endTimes).toHaveLength(asked.requests.length);
    expect(many.ttftMeanMs).not.toBe(single.ttftMeanMs);
  });

  it.each(["elastic", "disaggregated"] as const)("moves blocks when it is %s", (topology) => {
    const result = simulate(plan("shared-prefix", 300, 8), WARMPATH, { ...OPTIONS, topology });
    expect(result.endTimes).toHaveLength(300);
    expect(result.refused).toBe(0);
  });

  it("lets replicas that decode compute, too, when the one that prefills has more than it can do", () => {
    // 3 requests a second bring 1.2 s of prefill each second, and one of four replicas is there for it.
    const asked = plan("mixed", 300, 3);
    const split = simulate(asked, WARMPATH, { ...OPTIONS, topology: "disaggregated" });
    expect(split.refused).toBe(0);
    expect(split.ttftMeanMs).toBeLessThan(1.5 * simulate(asked, WARMPATH, OPTIONS).ttftMeanMs);
  });

  it.each(["cards", "nearest", "global"] as const)("serves three regions by %s, and pays the way", (choice) => {
    const regions = { shares: [0.5, 0.3, 0.2], rttMs: 80, nearRttMs: 4, choice };
    const result = simulate(asked, WARMPATH, { ...OPTIONS, replicas: 6, regions });
    const near = simulate(asked, WARMPATH, { ...OPTIONS, replicas: 6, regions: { ...regions, rttMs: 4 } });
    expect(result.endTimes).toHaveLength(asked.requests.length);
    if (choice === "nearest") expect(result.ttftMeanMs).toBe(near.ttftMeanMs);
    if (choice === "global") expect(result.ttftMeanMs).toBeGreaterThan(near.ttftMeanMs + 20);
    if (choice === "cards") expect(result.ttftMeanMs).toBeLessThan(near.ttftMeanMs + 70);
  });

  it("sends nobody far away because of a prompt that has its first token already", () => {
    // Each is computed before the next one comes, which finds the same card at its edge: one that does not know yet how fast this engine is.
    const prompts = Array.from({ length: 6 }, (_, n) => ({ parts: [[`p${n}`, 400]] as const, outputTokens: 1, at: n * 150 }));
    const served = (choice: "cards" | "nearest") => {
      const regions = { shares: [1, 0], rttMs: 60, nearRttMs: 4, choice };
      return simulate(planOf(prompts), WARMPATH, { ...OPTIONS, engine: scaled(TOY, 0.2), replicas: 2, regions }).ttftMeanMs;
    };
    expect(served("cards")).toBeCloseTo(served("nearest"), 6);
  });

  it("refuses what no replica could ever hold", () => {
    const long = planOf([
      { parts: [["a", 5_000]], outputTokens: 4 },
      { parts: [["b", 50]], outputTokens: 4 },
    ]);
    const result = simulate(long, peer("round-robin"), { ...OPTIONS, engine: TOY });
    expect(result.endTimes).toHaveLength(1);
  });
});

describe("saturation", () => {
  it("is what a fleet does when it never runs dry: half as fast an engine, half as much", () => {
    const asked = WORKLOADS.reasoning(streamOf(5, 7), 1_500);
    const full = saturation(asked, { ...OPTIONS, replicas: 1 });
    const slow = saturation(asked, { ...OPTIONS, replicas: 1, engine: scaled(OPTIONS.engine, 2) });
    expect(slow / full).toBeGreaterThan(0.45);
    expect(slow / full).toBeLessThan(0.55);
  });

  it("ends for closed loops, and grows with the fleet", () => {
    const asked = WORKLOADS.agent(streamOf(5, 7), 1_500);
    expect(saturation(asked, { ...OPTIONS, replicas: 2 })).toBeGreaterThan(saturation(asked, { ...OPTIONS, replicas: 1 }));
  });

  it("chooses by misses times load, ties by chance", () => {
    expect(PLAIN.name).toBe("plain");
    expect(() => PLAIN.choose({ id: 0, arrivedAtMs: 0, promptTokens: 1, chain: new BigUint64Array(), session: null }, [], () => 0)).toThrow(
      RangeError,
    );
  });
});

describe("a steady start", () => {
  it("leaves open arrivals as they are", () => {
    const open = plan("burst", 100, 5);
    expect(steadyStart(open)).toBe(open);
  });

  it("begins with sessions that are under way", () => {
    const cold = plan("conversation", 3_000, 8);
    const steady = steadyStart(cold);
    expect(steady.requests.length).toBeLessThan(cold.requests.length);
    expect(steady.requests.every(({ id, after }, at) => id === at && after.every((before) => before < id))).toBe(true);
    expect(steady.requests.every(({ at, after }) => (at === null) === after.length > 0)).toBe(true);
    const first = simulate(steady, peer("lmetric"), OPTIONS);
    expect(first.requestsPerSecond).toBeGreaterThan(0.75 * 8);
  });
});

describe("any small fleet under any small load", () => {
  it("ends every request once, with every chooser", () => {
    const prompt = fc.record({
      shared: fc.integer({ min: 0, max: 2 }),
      own: fc.integer({ min: 1, max: 900 }),
      outputTokens: fc.integer({ min: 1, max: 120 }),
    });
    const chooser = fc.constantFrom(WARMPATH, peer("round-robin"), peer("llm-d"), peer("dynamo-linear"));
    const topology = fc.constantFrom("aggregated" as const, "elastic" as const, "disaggregated" as const);
    fc.assert(
      fc.property(
        fc.array(prompt, { minLength: 1, maxLength: 40 }),
        chooser,
        topology,
        fc.boolean(),
        fc.boolean(),
        (prompts, choose, shape, leaves, late) => {
          const asked = planOf(
            prompts.map(({ shared, own, outputTokens }, id) => ({
              parts: [
                [`s${shared}`, 400],
                [`p${id}`, own],
              ] as const,
              outputTokens,
              at: 40 * id,
            })),
          );
          const turnover = leaves
            ? ([
                { atMs: 500, replica: 2, change: "leave" },
                { atMs: 900, replica: 2, change: "join" },
              ] as const)
            : [];
          const events = late ? { eventDelayMs: 300, eventLoss: 0.3, hostTokens: 1_024 } : {};
          const result = simulate(asked, choose, { ...OPTIONS, engine: TOY, replicas: 3, topology: shape, turnover, ...events });
          expect(result.endTimes).toHaveLength(prompts.length);
          expect(result.mostWaiting).toBeLessThanOrEqual(prompts.length);
        },
      ),
      { seed: 23, numRuns: 60 },
    );
  });
});
