import { describe, expect, it } from "vitest";
import { streamOf } from "../../../simulator/chance.ts";
import { type Plan, reuseCeiling } from "../../../simulator/plan.ts";
import { WORKLOAD_NAMES, WORKLOADS } from "../../../simulator/workload.ts";

const plans = new Map<string, Plan>(WORKLOAD_NAMES.map((name) => [name, WORKLOADS[name](streamOf(3, 7), 1_000)]));
const plan = (name: string): Plan =>
  plans.get(name) ?? {
    name,
    tree: { hashes: new BigUint64Array(), parents: new Int32Array(), starts: new Uint32Array(), ends: new Uint32Array() },
    requests: [],
  };
const mean = (name: string, of: (request: Plan["requests"][number]) => number): number =>
  plan(name).requests.reduce((sum, request) => sum + of(request), 0) / plan(name).requests.length;

describe.each(WORKLOAD_NAMES)("the %s workload", (name) => {
  it("is the same for the same seed and another for another", () => {
    expect(WORKLOADS[name](streamOf(3, 7), 1_000)).toEqual(plan(name));
    expect(WORKLOADS[name](streamOf(4, 7), 1_000)).not.toEqual(plan(name));
  });

  it("hangs together: paths are chains, lengths add up, nothing follows what comes later", () => {
    const { requests, tree } = plan(name);
    expect(requests.length).toBeGreaterThanOrEqual(1_000);
    for (const [at, request] of requests.entries()) {
      expect(request.id).toBe(at);
      const { path, promptSegments, promptTokens, outputTokens } = request;
      expect(path.every((segment, depth) => tree.parents[segment] === (depth === 0 ? -1 : path[depth - 1]))).toBe(true);
      expect(tree.ends[path[promptSegments - 1] ?? -1]).toBe(promptTokens);
      expect(tree.ends[path.at(-1) ?? -1]).toBe(promptTokens + outputTokens);
      expect(request.chain).toEqual(BigUint64Array.from(path.subarray(0, promptSegments), (segment) => tree.hashes[segment] ?? 0n));
      expect(request.at === null).toBe(request.after.length > 0);
      for (const before of request.after) expect(before).toBeLessThan(at);
    }
  });
});

describe("workloads differ as they should", () => {
  it("in what can be reused", () => {
    const share = (name: string): number => reuseCeiling(plan(name), 16, true);
    expect(share("conversation")).toBeGreaterThan(0.85);
    expect(share("agent")).toBeGreaterThan(0.93);
    expect(share("reasoning")).toBeLessThan(0.4);
    expect(share("burst")).toBeGreaterThan(0.7);
    expect(share("shared-prefix")).toBeGreaterThan(0.75);
    // An engine that forgets what it wrote computes it again.
    expect(reuseCeiling(plan("agent"), 16, false)).toBeLessThan(share("agent") - 0.003);
  });

  it("in length", () => {
    expect(mean("reasoning", ({ outputTokens }) => outputTokens)).toBeGreaterThan(3_000);
    expect(mean("agent", ({ outputTokens }) => outputTokens)).toBeLessThan(400);
    expect(mean("agent", ({ promptTokens }) => promptTokens)).toBeGreaterThan(15_000);
    expect(mean("reasoning", ({ promptTokens }) => promptTokens)).toBeLessThan(1_000);
  });

  it("in how they arrive", () => {
    const followers = (name: string): number => mean(name, ({ after }) => (after.length > 0 ? 1 : 0));
    expect(followers("agent")).toBeGreaterThan(0.9);
    expect(followers("conversation")).toBeGreaterThan(0.6);
    expect(followers("burst") + followers("reasoning") + followers("shared-prefix")).toBe(0);
    expect(Math.max(...plan("agent").requests.map(({ after }) => after.length))).toBeGreaterThan(1);
    const atOnce = new Set(plan("burst").requests.map(({ at }) => at)).size / plan("burst").requests.length;
    expect(atOnce).toBeLessThan(0.5);
  });
});
