import { describe, expect, it } from "vitest";
import { parseSimulateOptions } from "../../../cli/simulate-options.ts";

describe("options of warmpath simulate", () => {
  it("has defaults for everything", () => {
    expect(parseSimulateOptions([])).toMatchObject({
      models: ["llama-8b-h100"],
      loads: [0.7],
      replicas: 8,
      trace: null,
      seed: 1,
      regions: null,
    });
    expect(parseSimulateOptions(["--help"])).toBe("help");
  });

  it("runs only the trace when there is one and no workload is named", () => {
    expect(parseSimulateOptions(["--trace", "t.jsonl"])).toMatchObject({ workloads: [], trace: "t.jsonl" });
    expect(parseSimulateOptions(["--trace", "t.jsonl", "--workload", "agent,burst"])).toMatchObject({ workloads: ["agent", "burst"] });
  });

  it("knows the product's profiles and the peers", () => {
    expect(parseSimulateOptions(["--policies", "warmpath, warmpath:sticky,llm-d"])).toMatchObject({
      policies: [
        { kind: "product", profile: "cache-aware" },
        { kind: "product", profile: "sticky" },
        { kind: "baseline", name: "llm-d" },
      ],
    });
  });

  it.each([
    [["--policies", "magic"], "magic"],
    [["--policies", ","], "names no policy"],
    [["--workload", "agents"], "conversation, agent"],
    [["--model", "gpt"], "llama-8b-h100"],
    [["--load", "0"], "--load must be a number from 0.01"],
    [["--load", ""], "--load"],
    [["--replicas", "65"], "--replicas must be a whole number from 1 to 64"],
    [["--topology", "disaggregated", "--replicas", "1"], "from 2"],
    [["--event-loss", "1.5"], "--event-loss"],
    [["--regions", "50,30"], "--regions must sum to 100"],
    [["--lose", "5"], "--lose"],
    [["--nonsense"], "nonsense"],
  ])("says what is wrong with %j", (args, words) => {
    expect(() => parseSimulateOptions(args)).toThrow(words);
  });
});
