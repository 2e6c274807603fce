/** Workloads × loads × engines × policies: mean and p99 time to first token, time per token, against the best peer of each cell and each peer over all. */
import { type Cell, cellsLost, type ComparedMetric, geomeansAgainstPeers, ratiosToBestPeer } from "../../../simulator/comparison.ts";
import type { RunResult } from "../../../simulator/simulate.ts";
import { type Bench, fleetsOf, keep, PEERS, PRODUCT, saturations } from "./bench.ts";
import { performAll } from "./threads.ts";

/** @param name of the result. */
export async function cellsPart(bench: Bench, name: string, constants: readonly number[], kvShare = 1): Promise<void> {
  const fleets = fleetsOf(bench, constants, kvShare);
  const rates = await saturations(bench, fleets);
  const policies = bench.policies ?? [...PEERS, PRODUCT];
  const tasks = fleets.flatMap((fleet, at) =>
    bench.loads.flatMap((load) =>
      policies.map((policy) => ({
        ...fleet,
        what: "run" as const,
        policy,
        load,
        ratePerSecond: load * (rates[at] ?? 0),
        options: {},
      })),
    ),
  );
  const outcomes = await performAll(tasks, bench.threads);
  const cells = outcomes.map(({ run }, at): Cell => {
    const { workload, engine: model, load = 0, constants: factor = 1, policy = "" } = tasks[at] ?? {};
    return { workload: nameOf(workload), model: model ?? "", load, constants: factor, policy, metrics: metricsOf(run) };
  });
  const geomeans = geomeansAgainstPeers(cells, PRODUCT);
  const ratios = ratiosToBestPeer(cells, PRODUCT);
  const lost = cellsLost(ratios);
  print(cells, policies);
  console.log("Warmpath against each peer over all cells, geometric means");
  console.table(geomeans.map(({ peer, cells: count, ratios: of }) => ({ peer, cells: count, ...rounded(of) })));
  console.log(`cells lost: ${lost.length} of ${ratios.length}`);
  console.table(
    lost.map(({ workload, model, load, constants: factor, metric, peer, ratio }) => ({
      workload,
      model,
      load,
      factor,
      metric,
      peer,
      ratio: Number(ratio.toFixed(2)),
    })),
  );
  keep(bench, name, [
    {
      saturations: fleets.map((fleet, at) => ({
        workload: nameOf(fleet.workload),
        engine: fleet.engine,
        constants: fleet.constants,
        ratePerSecond: rates[at],
      })),
    },
    { cells },
    { geomeans },
    { lost },
  ]);
}

const nameOf = (workload: string | undefined): string => (workload === "trace" ? "conversation (Mooncake)" : (workload ?? ""));

function metricsOf(run: Omit<RunResult, "endTimes">): Cell["metrics"] {
  const { ttftMeanMs, ttftP50Ms, ttftP99Ms, tpotMeanMs, tpotP99Ms, e2eMeanMs, goodShare, hitShare, hitCeiling, refused } = run;
  return {
    ttftMeanMs,
    ttftP50Ms,
    ttftP99Ms,
    tpotMeanMs,
    tpotP99Ms,
    e2eMeanMs,
    goodputShare: goodShare,
    hitShare,
    ceilingHitShare: hitCeiling,
    refused,
  };
}

function rounded(of: Readonly<Record<ComparedMetric, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(of).map(([metric, ratio]) => [metric, Number(ratio.toFixed(3))]));
}

function print(cells: readonly Cell[], policies: readonly string[]): void {
  const perCell = policies.length;
  for (let at = 0; at < cells.length; at += perCell) {
    const rows = cells.slice(at, at + perCell);
    const [first] = rows;
    if (first === undefined) continue;
    console.log(`${first.workload}, ${first.model} × ${first.constants}, load ${first.load}`);
    console.table(
      Object.fromEntries(
        rows.map(({ policy, metrics: m }) => [
          policy,
          {
            "TTFT mean": Math.round(m.ttftMeanMs),
            p50: Math.round(m.ttftP50Ms),
            p99: Math.round(m.ttftP99Ms),
            TPOT: Number(m.tpotMeanMs.toFixed(2)),
            "TPOT p99": Number(m.tpotP99Ms.toFixed(1)),
            good: Number(m.goodputShare.toFixed(3)),
            hit: Number(m.hitShare.toFixed(3)),
          },
        ]),
      ),
    );
  }
}
