import { describe, expect, it } from "vitest";
import { deploymentProblem } from "../../../cli/deployment-check.ts";

const models = (pools: Record<string, string[]>, more: object = {}): string =>
  JSON.stringify({
    models: Object.fromEntries(Object.entries(pools).map(([model, names]) => [model, { pools: names.map((pool) => ({ pool })) }])),
    ...more,
  });

describe("WARMPATH_MODELS", () => {
  it("fits where it names the pools of this start, and only those", () => {
    expect(deploymentProblem(models({ chat: ["default"], next: ["default-2"] }), ["default", "default-2"])).toBeNull();
  });

  it("may name any pools where replicas come from elsewhere", () => {
    expect(deploymentProblem(models({ chat: ["elsewhere"] }), [])).toBeNull();
  });

  it.each<[string, string, string[], RegExp]>([
    ["is no JSON", "{models", ["default"], /^WARMPATH_MODELS: is no JSON: /],
    [
      "names a pool as none may be called",
      models({ chat: ["a_b"] }),
      ["default"],
      /^WARMPATH_MODELS\.models\.chat\.pools\.0\.pool: a pool's name has/,
    ],
    [
      "leads an alias nowhere",
      models({ chat: ["default"] }, { aliases: { fast: [{ model: "cat" }] } }),
      ["default"],
      /^WARMPATH_MODELS\.aliases\.fast\.0\.model: there is no model cat in models$/,
    ],
    [
      "names a pool that nobody joins",
      models({ chat: ["default", "other"] }),
      ["default"],
      /^WARMPATH_MODELS\.models\.chat\.pools\.1\.pool: no replica of this start joins other; they join default\./,
    ],
    [
      "lacks a pool that replicas join",
      models({ chat: ["default"] }),
      ["default", "default-2"],
      /^WARMPATH_MODELS\.models: no model has the pool default-2, which replicas/,
    ],
  ])("that %s is refused in one line with the place", (_, text, pools, problem) => {
    const said = deploymentProblem(text, pools);
    expect(said).toMatch(problem);
    expect(said).not.toContain("\n");
  });
});
