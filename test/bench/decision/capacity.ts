/** SLO capacity: the highest rate at which 90 % of the requests have their first token within 2 s and 50 ms a token. */
import { type Bench, fleetsOf, keep, PEERS, PRODUCT, saturations } from "./bench.ts";
import { performAll } from "./threads.ts";

/** Of load 1: where the search begins and ends. */
const LOWEST = 0.03;
const HIGHEST = 4;

export async function capacityPart(bench: Bench): Promise<void> {
  const fleets = fleetsOf(bench, [1]);
  const rates = await saturations(bench, fleets);
  const policies = bench.policies ?? [...PEERS, PRODUCT];
  const tasks = fleets.flatMap((fleet, at) =>
    policies.map((policy) => ({
      ...fleet,
      what: "capacity" as const,
      policy,
      lowestPerSecond: LOWEST * (rates[at] ?? 0),
      highestPerSecond: HIGHEST * (rates[at] ?? 0),
    })),
  );
  const outcomes = await performAll(tasks, bench.threads);
  const rows = outcomes.map(({ capacity }, at) => {
    const { workload = "", engine = "", policy = "" } = tasks[at] ?? {};
    const { kind, requestsPerSecond } = capacity;
    return { workload, engine, policy, requestsPerSecond, kind };
  });
  const lost: object[] = [];
  for (let at = 0; at < rows.length; at += policies.length) {
    const cell = rows.slice(at, at + policies.length).toSorted((a, b) => b.requestsPerSecond - a.requestsPerSecond);
    const ours = cell.find(({ policy }) => policy === PRODUCT);
    const best = cell.find(({ policy }) => policy !== PRODUCT);
    console.log(
      `${cell[0]?.workload}, ${cell[0]?.engine}: ${cell.map(({ policy, requestsPerSecond: rate }) => `${policy} ${rate.toFixed(2)}`).join(", ")}`,
    );
    if (ours === undefined || best === undefined || ours.requestsPerSecond >= best.requestsPerSecond) continue;
    lost.push({ workload: ours.workload, engine: ours.engine, peer: best.policy, ratio: ours.requestsPerSecond / best.requestsPerSecond });
  }
  console.log("workloads where a peer holds a higher rate");
  console.table(lost);
  keep(bench, "decision-capacity", [{ rows }, { lost }]);
}
