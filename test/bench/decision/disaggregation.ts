/** Elastic disaggregation: never worse than aggregated where it does not pay, and what it is worth where long prompts come among long decodes. */
import { type Bench, fleetsOf, keep, PRODUCT, saturations } from "./bench.ts";
import { performAll } from "./threads.ts";

/** Mean time to the first token, elastic against aggregated, at most. */
const MOST = 1.05;

export async function disaggregationPart(bench: Bench): Promise<void> {
  const fleets = fleetsOf({ ...bench, workloads: [...bench.workloads, "mixed"] }, [1]);
  const rates = await saturations(bench, fleets);
  const tasks = fleets.flatMap((fleet, at) =>
    bench.loads.flatMap((load) =>
      [PRODUCT, `${PRODUCT}-elastic`].map((policy) => ({
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
  const rows: object[] = [];
  for (let at = 0; at + 1 < outcomes.length; at += 2) {
    const [aggregated, elastic] = [outcomes[at]?.run, outcomes[at + 1]?.run];
    const task = tasks[at];
    if (aggregated === undefined || elastic === undefined || task === undefined) continue;
    const by = (measure: "ttftMeanMs" | "ttftP99Ms" | "tpotMeanMs" | "tpotP99Ms" | "gapP99Ms"): number =>
      Number((elastic[measure] / aggregated[measure]).toFixed(3));
    rows.push({
      workload: task.workload,
      engine: task.engine,
      load: task.load,
      ttftMean: by("ttftMeanMs"),
      ttftP99: by("ttftP99Ms"),
      tpotMean: by("tpotMeanMs"),
      tpotP99: by("tpotP99Ms"),
      gapP99: by("gapP99Ms"),
      met: by("ttftMeanMs") <= MOST,
    });
  }
  console.log("elastic against aggregated, ratios");
  console.table(rows);
  keep(bench, "decision-disaggregation", rows);
}
