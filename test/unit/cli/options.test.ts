import { describe, expect, it } from "vitest";
import { parseOptions, poolNames, roleOf } from "../../../cli/options.ts";
import { parseModels } from "../../../cli/models/model-choice.ts";
import { screen } from "../../../cli/screen.ts";

const facts = { url: "http://x", apiKey: "k", models: ["m"], readyMs: 900, note: null, joinCommand: "join" };

describe("--topology", () => {
  it.each([
    [[], "aggregated", 2],
    [["--topology", "aggregated", "--replicas", "1"], "aggregated", 1],
    [["--topology", "disaggregated"], "disaggregated", 3],
    [["--topology", "disaggregated", "--replicas", "5"], "disaggregated", 5],
  ] as const)("%j: %s with %i replicas", (args, topology, replicas) => {
    expect(parseOptions([...args])).toMatchObject({ topology, replicas });
  });

  it("says what it takes", () => {
    expect(() => parseOptions(["--topology", "star"])).toThrow('--topology must be one of aggregated, disaggregated, not "star".');
    expect(() => parseOptions(["--topology", "disaggregated", "--replicas", "1"])).toThrow("from 2 to 64");
  });

  it("gives the first replica the prefill role, the others decode", () => {
    expect([1, 2, 3].map((number) => roleOf("disaggregated", number))).toEqual(["prefill", "decode", "decode"]);
    expect([1, 2].map((number) => roleOf("aggregated", number))).toEqual(["both", "both"]);
  });

  it("is on the screen when it is not the usual one", () => {
    const addresses = screen({ ...facts, replicas: 2, topology: "aggregated" }).match(/https?:\S+/g);
    expect(addresses?.slice(0, 2)).toEqual([`${facts.url}/#key=${facts.apiKey}`, `${facts.url}/v1`]);
    expect(screen({ ...facts, replicas: 3, topology: "disaggregated" })).toContain("Topology  disaggregated: 1 prefill, 2 decode");
    expect(screen({ ...facts, replicas: 2, topology: "aggregated" })).not.toContain("Topology");
  });
});

describe("--pools", () => {
  it("names them, the only one as ever", () => {
    const models = parseModels("tiny");
    expect(poolNames({ pools: 1, models })).toEqual(["default"]);
    expect(poolNames({ pools: 3, models })).toEqual(["default", "default-2", "default-3"]);
    expect(parseOptions([])).toMatchObject({ pools: 1 });
    expect(() => parseOptions(["--pools", "17"])).toThrow("--pools must be a whole number from 1 to 16");
  });
});

describe("--replicas 0", () => {
  it("is the edge alone, and the screen shows the command by which a replica joins", () => {
    expect(parseOptions(["--replicas", "0"])).toMatchObject({ replicas: 0 });
    const shown = screen({ ...facts, models: [], replicas: 0, topology: "aggregated", joinCommand: "npx warmpath replica" });
    expect(shown).toContain("Warmpath's edge is ready, without a replica");
    expect(shown).toContain("\n  npx warmpath replica\n");
    expect(shown).not.toContain("curl");
  });
});

describe("--context", () => {
  it("is what the model was made for where none is named", () => {
    expect(parseOptions([])).toMatchObject({ contextTokens: null });
    expect(parseOptions(["--context", "2048"])).toMatchObject({ contextTokens: 2_048 });
  });
});
