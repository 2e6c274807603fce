import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeStepsFor, decodeStepsMs, stepMs } from "../../../simulator/step-time.ts";
import { engineFor, planOf, type Seen, TOY } from "./plans.ts";

const at = (seen: readonly Seen[], what: Seen["what"], id: number): number =>
  seen.find((one) => one.what === what && one.id === id)?.ms ?? NaN;

describe("one engine's time", () => {
  it("is a step's sum: base, prefill, pairs", () => {
    const { seen, submit, run } = engineFor(planOf([{ parts: [["a", 100]], outputTokens: 1 }]));
    submit(0, 0);
    run();
    // 10 + 100 * 1 + 0.001 * 100 * 50
    expect(at(seen, "first", 0)).toBeCloseTo(115);
    expect(at(seen, "finished", 0)).toBeCloseTo(115);
  });

  it("cuts a long prompt into steps of 512 tokens", () => {
    const { seen, submit, run } = engineFor(planOf([{ parts: [["a", 1_000]], outputTokens: 1 }]));
    submit(0, 0);
    run();
    // 10 + 512 + 0.001 * 512 * 256, then 10 + 488 + 0.001 * 488 * (512 + 244)
    expect(at(seen, "first", 0)).toBeCloseTo(10 + 512 + 131.072 + 10 + 488 + 368.928);
  });

  it("sums decode steps as their context grows", () => {
    const { seen, submit, run } = engineFor(planOf([{ parts: [["a", 100]], outputTokens: 4 }]));
    submit(0, 0);
    run();
    // Three more steps: 10 + 2 + 0.01 * (101, 102, 103)
    expect(at(seen, "finished", 0)).toBeCloseTo(115 + 36 + 0.01 * 306);
  });

  it("prefills beside those who decode, from the end of the step under way", () => {
    const plan = planOf([
      { parts: [["a", 100]], outputTokens: 50 },
      { parts: [["b", 200]], outputTokens: 2 },
    ]);
    const { seen, submit, run } = engineFor(plan);
    submit(0, 0);
    run(120);
    // The second decode step of the first, begun at 115 + 13.01, is under way.
    submit(1, 130);
    run();
    const beganMs = 115 + 13.01 + 13.02;
    expect(at(seen, "started", 1)).toBeCloseTo(beganMs);
    // 10 + 200 + 0.001 * 200 * 100 + 2 + 0.01 * 103
    expect(at(seen, "first", 1)).toBeCloseTo(beganMs + 10 + 200 + 20 + 2 + 1.03);
  });

  it("knows how many decode steps fit a time", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 256 }),
        fc.integer({ min: 1, max: 100_000 }),
        fc.double({ min: 0, max: 1e6, noNaN: true }),
        (n, context, ms) => {
          const steps = decodeStepsFor(TOY, n, context, ms);
          expect(decodeStepsMs(TOY, n, context, steps)).toBeGreaterThanOrEqual(ms);
          if (steps > 1) expect(decodeStepsMs(TOY, n, context, steps - 1)).toBeLessThan(ms);
        },
      ),
      { seed: 6, numRuns: 200 },
    );
    expect(decodeStepsMs(TOY, 3, 100, 1)).toBe(stepMs(TOY, { prefillTokens: 0, pairs: 0, decoding: 3, contextTokens: 100 }));
  });
});

describe("one engine's cache", () => {
  it("reuses whole blocks and computes at least one token", () => {
    const { seen, submit, run } = engineFor(
      planOf([
        { parts: [["a", 160]], outputTokens: 1 },
        {
          parts: [
            ["a", 160],
            ["b", 20],
          ],
          outputTokens: 1,
        },
        { parts: [["a", 160]], outputTokens: 1 },
      ]),
    );
    for (const id of [0, 1, 2]) {
      submit(id, 10_000 * id);
      run();
    }
    expect(seen.filter(({ what }) => what === "first").map(({ cachedTokens }) => cachedTokens)).toEqual([0, 160, 144]);
  });

  it("shares a prefix within one step: the later one computes its own part only", () => {
    const shared = ["a", 160] as const;
    const { seen, submit, run } = engineFor(
      planOf([
        { parts: [["z", 16]], outputTokens: 1 },
        { parts: [shared, ["b", 20]], outputTokens: 1 },
        { parts: [shared, ["c", 20]], outputTokens: 1 },
      ]),
    );
    for (const id of [0, 1, 2]) submit(id, 0);
    run();
    expect(seen.filter(({ what }) => what === "first").map(({ cachedTokens }) => cachedTokens)).toEqual([0, 0, 160]);
  });

  it("evicts the least recently used, a prompt's end before its beginning", () => {
    const long = { ...TOY, kvTokens: 1_024 };
    const plan = planOf([
      { parts: [["a", 512]], outputTokens: 1 },
      { parts: [["b", 400]], outputTokens: 1 },
      { parts: [["c", 300]], outputTokens: 1 },
    ]);
    const { engine, submit, run } = engineFor(plan, long);
    for (const id of [0, 1, 2]) {
      submit(id, 10_000 * id);
      run();
    }
    const held = (id: number): number =>
      engine.cache.onDevice(plan.requests[id]?.path ?? new Int32Array(), plan.requests[id]?.promptSegments ?? 0);
    expect([held(0), held(1), held(2)]).toEqual([1, 2, 2]);
  });

  it("keeps what left the device in host memory, and loads it where that is quicker", () => {
    const plan = planOf([
      { parts: [["a", 512]], outputTokens: 1 },
      { parts: [["b", 900]], outputTokens: 1 },
      { parts: [["a", 512]], outputTokens: 1 },
    ]);
    const { seen, submit, run } = engineFor(plan, { ...TOY, kvTokens: 1_024 }, { hostTokens: 2_048, reuseGenerated: true });
    for (const id of [0, 1, 2]) {
      submit(id, 10_000 * id);
      run();
    }
    const first = seen.find(({ what, id }) => what === "first" && id === 2);
    expect(first?.cachedTokens).toBe(496);
    // 496 tokens at 0.1 ms, then 16 of them computed.
    expect(first?.ms).toBeCloseTo(20_000 + 49.6 + 10 + 16 + 0.001 * 16 * 504);
  });

  it("keeps an answer for the next turn only where engines do", () => {
    const plan = planOf([{ parts: [["a", 160]], outputTokens: 65 }]);
    for (const reuseGenerated of [true, false]) {
      const { engine, submit, run } = engineFor(plan, TOY, { hostTokens: 0, reuseGenerated });
      submit(0, 0);
      run();
      expect(engine.cache.usedBlocks).toBe(reuseGenerated ? 14 : 10);
      expect(engine.cache.liveBlocks).toBe(0);
    }
  });

  it("has a prompt's first token at once when all of it was fetched", () => {
    const { seen, submit, run } = engineFor(planOf([{ parts: [["a", 160]], outputTokens: 2 }]));
    submit(0, 5, 160);
    run();
    expect(at(seen, "first", 0)).toBe(5);
    expect(at(seen, "finished", 0)).toBeCloseTo(5 + 12 + 1.61);
  });

  it("preempts the last to come when those who decode need room, and all end", () => {
    const plan = planOf([
      { parts: [["a", 400]], outputTokens: 300 },
      { parts: [["b", 400]], outputTokens: 300 },
    ]);
    const { engine, seen, submit, run } = engineFor(plan, { ...TOY, kvTokens: 1_024 });
    submit(0, 0);
    submit(1, 0);
    run();
    expect(engine.preemptions).toBeGreaterThan(0);
    expect(seen.filter(({ what }) => what === "finished").map(({ id }) => id)).toEqual([0, 1]);
    expect(seen.filter(({ what }) => what === "first")).toHaveLength(2);
  });

  it("gives up what is cancelled, waiting or running", () => {
    const plan = planOf(Array.from({ length: 6 }, (_, id) => ({ parts: [[`p${id}`, 100]] as const, outputTokens: 500 })));
    const { engine, seen, submit, run } = engineFor(plan);
    for (let id = 0; id < 6; id++) submit(id, 0);
    run(1_000);
    expect(engine.cancel("5 1", 1_000)).toBeDefined();
    expect(engine.cancel("0 1", 1_000)).toBeDefined();
    expect(engine.cancel("9 1", 1_000)).toBeUndefined();
    run();
    expect(seen.filter(({ what }) => what === "finished").map(({ id }) => id)).toEqual([1, 2, 3, 4]);
    expect(engine.cache.liveBlocks).toBe(0);
  });
});

describe("any load", () => {
  it("ends every request once, never holds more than fits, and leaves nothing in use", () => {
    const prompt = fc.record({
      shared: fc.integer({ min: 0, max: 3 }),
      own: fc.integer({ min: 1, max: 600 }),
      outputTokens: fc.integer({ min: 1, max: 200 }),
      ms: fc.integer({ min: 0, max: 20_000 }),
      cancelMs: fc.option(fc.integer({ min: 0, max: 20_000 })),
    });
    fc.assert(
      fc.property(fc.array(prompt, { minLength: 1, maxLength: 30 }), fc.constantFrom(0, 1_024), (prompts, hostTokens) => {
        const sorted = prompts.toSorted((left, right) => left.ms - right.ms);
        const plan = planOf(
          sorted.map(({ shared, own, outputTokens }, id) => ({
            parts: [
              [`s${shared}`, 100 + 150 * shared],
              [`p${id}`, own],
            ] as const,
            outputTokens,
          })),
        );
        const { engine, seen, submit } = engineFor(plan, { ...TOY, kvTokens: 2_048 }, { hostTokens, reuseGenerated: true });
        const steps = sorted.flatMap(({ ms, cancelMs }, id) => [
          { ms, act: () => submit(id, ms) },
          ...(cancelMs === null
            ? []
            : [{ ms: ms + cancelMs, act: () => gone.push(engine.cancel(`${id} 1`, ms + cancelMs) === undefined ? -1 : id) }]),
        ]);
        const gone: number[] = [];
        steps.sort((left, right) => left.ms - right.ms);
        const check = (): void => {
          expect(engine.cache.usedBlocks).toBeLessThanOrEqual(engine.cache.capacityBlocks);
          expect(engine.cache.liveBlocks).toBeGreaterThanOrEqual(0);
          expect(engine.cache.hostBlocks).toBeLessThanOrEqual(hostTokens / 16);
          expect(engine.running.length).toBeLessThanOrEqual(TOY.maxSequences);
        };
        const runTo = (ms: number): void => {
          while (engine.nextMs <= ms && engine.nextMs < Infinity) {
            engine.advance(engine.nextMs);
            check();
          }
        };
        for (const { ms, act } of steps) {
          runTo(ms);
          act();
          check();
        }
        runTo(Number.MAX_VALUE);
        const ended = [...seen.filter(({ what }) => what === "finished").map(({ id }) => id), ...gone.filter((id) => id >= 0)];
        expect(ended.toSorted((left, right) => left - right)).toEqual(sorted.map((_, id) => id));
        expect(engine.cache.liveBlocks).toBe(0);
        expect(engine.waiting).toHaveLength(0);
      }),
      { seed: 17, numRuns: 150 },
    );
  });
});
