import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { baseline, PEER_NAMES, isPeerName } from "../../../../simulator/peers/peers.ts";
import { anyRequest, anySights, ask, noDraw, sight } from "./sights.ts";

/** What a policy is asked, one after the other, and the chance it meets. */
const anyCourse = fc.array(
  fc.record({
    request: anyRequest,
    sights: anySights,
    draws: fc.array(fc.double({ min: 0, max: 1 - 2 ** -53, noNaN: true }), { minLength: 1, maxLength: 6 }),
  }),
  {
    minLength: 1,
    maxLength: 12,
  },
);

/** The same draws each time, over and over. */
function repeating(values: readonly number[]): () => number {
  let next = 0;
  return () => values[next++ % values.length] ?? 0;
}

describe.each(PEER_NAMES)("%s", (name) => {
  it("chooses a replica that is there, and the same again from the same past", () => {
    fc.assert(
      fc.property(anyCourse, (course) => {
        const [one, other] = [baseline(name), baseline(name)];
        for (const { request, sights, draws } of course) {
          const before = structuredClone(sights);
          const index = one.choose(request, sights, repeating(draws));
          expect(Number.isInteger(index) && index >= 0 && index < sights.length).toBe(true);
          expect(sights).toEqual(before);
          expect(other.choose(request, sights, repeating(draws))).toBe(index);
        }
      }),
      { seed: 6, numRuns: 150 },
    );
  });

  it("has the name it is asked by", () => {
    expect(baseline(name).name).toBe(name);
  });

  it("takes the only one there is", () => {
    expect(baseline(name).choose(ask(100), [sight(7)], noDraw)).toBe(0);
  });

  it("throws where there is none", () => {
    expect(() => baseline(name).choose(ask(100), [], () => 0)).toThrow(RangeError);
  });
});

describe("the registry", () => {
  it("knows its names and no others", () => {
    expect(PEER_NAMES).toHaveLength(16);
    expect(isPeerName("llm-d")).toBe(true);
    expect(isPeerName("toString")).toBe(false);
    expect(isPeerName("warmpath")).toBe(false);
  });

  it("remembers nothing from one policy to the next", () => {
    const sights = [sight(0), sight(1)];
    expect(baseline("round-robin").choose(ask(1), sights, noDraw)).toBe(0);
    expect(baseline("round-robin").choose(ask(1), sights, noDraw)).toBe(0);
  });
});
