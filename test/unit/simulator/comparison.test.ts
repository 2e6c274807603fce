import { describe, expect, it } from "vitest";
import { cellsLost, geomeansAgainstPeers, ratiosToBestPeer } from "../../../simulator/comparison.ts";
import { CELL, row } from "./cells.ts";

describe("ratios to the best peer", () => {
  it("takes the best peer of each metric by itself", () => {
    const cells = [
      row("warmpath", { ttftMeanMs: 90, ttftP99Ms: 300, tpotMeanMs: 22 }),
      row("a", { ttftMeanMs: 100, ttftP99Ms: 250, tpotMeanMs: 25 }),
      row("b", { ttftMeanMs: 120, ttftP99Ms: 400, tpotMeanMs: 20 }),
    ];
    expect(ratiosToBestPeer(cells, "warmpath")).toEqual([
      { ...CELL, metric: "ttftMeanMs", ours: 90, best: 100, peer: "a", ratio: 0.9 },
      { ...CELL, metric: "ttftP99Ms", ours: 300, best: 250, peer: "a", ratio: 1.2 },
      { ...CELL, metric: "tpotMeanMs", ours: 22, best: 20, peer: "b", ratio: 1.1 },
    ]);
  });

  it("keeps cells apart by workload, model, load and constants", () => {
    const keys = [{}, { workload: "burst" }, { model: "70b" }, { load: 0.9 }, { constants: 2 }];
    const cells = keys.flatMap((key, n) => [row("warmpath", { ttftMeanMs: n + 1 }, key), row("a", { ttftMeanMs: 1 }, key)]);
    const means = ratiosToBestPeer(cells, "warmpath").filter(({ metric }) => metric === "ttftMeanMs");
    expect(means.map(({ ratio }) => ratio)).toEqual([1, 2, 3, 4, 5]);
  });

  it("leaves out cells that only one side has", () => {
    expect(ratiosToBestPeer([row("a", {}), row("b", {})], "warmpath")).toEqual([]);
    expect(ratiosToBestPeer([row("warmpath", {})], "warmpath")).toEqual([]);
  });
});

describe("cells lost", () => {
  const ratiosOf = (ttftMeanMs: number, ttftP99Ms: number, tpotMeanMs: number) =>
    ratiosToBestPeer(
      [row("warmpath", { ttftMeanMs, ttftP99Ms, tpotMeanMs }), row("a", { ttftMeanMs: 100, ttftP99Ms: 100, tpotMeanMs: 100 })],
      "warmpath",
    );

  it("are those above 1.05, 1.15 and 1.05; at the limit they are kept", () => {
    expect(cellsLost(ratiosOf(105, 115, 105))).toEqual([]);
    expect(cellsLost(ratiosOf(106, 115, 105)).map(({ metric }) => metric)).toEqual(["ttftMeanMs"]);
    expect(cellsLost(ratiosOf(105, 116, 105)).map(({ metric }) => metric)).toEqual(["ttftP99Ms"]);
    expect(cellsLost(ratiosOf(105, 115, 106)).map(({ metric }) => metric)).toEqual(["tpotMeanMs"]);
  });

  it("come with the worst first, by how far they are above their limit", () => {
    // 1.2 / 1.05 = 1.143, 1.3 / 1.15 = 1.130, 1.25 / 1.05 = 1.190.
    const lost = cellsLost(ratiosOf(120, 130, 125));
    expect(lost.map(({ metric, limit }) => [metric, limit])).toEqual([
      ["tpotMeanMs", 1.05],
      ["ttftMeanMs", 1.05],
      ["ttftP99Ms", 1.15],
    ]);
  });

  it("include what is no number", () => {
    expect(cellsLost(ratiosOf(Number.NaN, 100, 100))).toHaveLength(1);
  });
});

describe("geomeans against peers", () => {
  it("are over the cells that both have", () => {
    const cells = [
      row("warmpath", { ttftMeanMs: 50 }),
      row("a", { ttftMeanMs: 100 }),
      row("warmpath", { ttftMeanMs: 200 }, { load: 0.9 }),
      row("a", { ttftMeanMs: 100 }, { load: 0.9 }),
      row("b", { ttftMeanMs: 400, ttftP99Ms: 800, tpotMeanMs: 10 }, { load: 0.9 }),
      row("a", { ttftMeanMs: 1 }, { load: 0.5 }),
    ];
    const [a, b, ...rest] = geomeansAgainstPeers(cells, "warmpath");
    // sqrt(0.5 * 2) = 1.
    expect(a).toMatchObject({ peer: "a", cells: 2, ratios: { tpotMeanMs: 1 } });
    expect(a?.ratios.ttftMeanMs).toBeCloseTo(1, 12);
    expect(b).toMatchObject({ peer: "b", cells: 1 });
    expect(Object.values(b?.ratios ?? {}).map((ratio) => Number(ratio.toFixed(9)))).toEqual([0.5, 0.5, 2]);
    expect(rest).toEqual([]);
  });
});
