/** What the decision loses when what it knows is late, lost or missing, when replicas go, when it spans regions, and when more is asked than can be done. */
import { POOL_CHOICES } from "../../../src/simulation/regional-arm.ts";
import type { SimulationOptions } from "../../../src/simulation/simulate.ts";
import { type Bench, type Fleet, fleetsOf, keep, PRODUCT, saturations } from "./bench.ts";
import type { Task } from "./task.ts";
import { performAll } from "./threads.ts";

const LOAD = 0.8;
/** A client of the overload rows gives up after so long, and says so and how often it wants tokens when it asks: what a good request is measured by. */
const PATIENCE_MS = 2_000;
const TPOT_MS = 50;
const OVERLOADS = [0.8, 0.9, 1, 1.1, 1.2, 2];

/** Half of the requests come to a third of the replicas. What one pool that saw all would need is compared with, and with asking only the nearest. */
const SHARES = [0.5, 0.3, 0.2];
const REGIONS_LOAD = 0.7;
const REGIONAL_REPLICAS = 9;
const ROUND_TRIP_MS = 60;
const NEAR_ROUND_TRIP_MS = 2;
const MOST_REGIONAL = 1.15;

interface Trouble {
  name: string;
  options: (spanMs: number) => Partial<Omit<SimulationOptions, "engine">>;
  /** Mean time to the first token against the untroubled run, at most: so many times, or so many ms more. */
  most: { times: number } | { moreMs: number };
}

/** One of eight goes at a third of the run, and comes back empty a third later. */
const GOES = (spanMs: number): SimulationOptions["turnover"] => [
  { atMs: spanMs / 3, replica: 3, change: "leave" },
  { atMs: (2 * spanMs) / 3, replica: 3, change: "join" },
];

const TROUBLES: readonly Trouble[] = [
  { name: "events 5 s late", options: () => ({ eventDelayMs: 5_000 }), most: { times: 1.05 } },
  { name: "no events", options: () => ({ announced: false }), most: { times: 1.1 } },
  { name: "10 % of events lost", options: () => ({ eventLoss: 0.1 }), most: { times: 1.05 } },
  { name: "booking takes 20 ms", options: () => ({ bookingMs: 20 }), most: { moreMs: 50 } },
  { name: "one of 8 replicas goes and returns", options: (spanMs) => ({ turnover: GOES(spanMs) }), most: { times: 1.25 } },
  { name: "16 edges", options: () => ({ edges: 16 }), most: { times: 1 } },
];

export async function robustnessPart(bench: Bench): Promise<void> {
  const fleets = fleetsOf(bench, [1]);
  const rates = await saturations(bench, fleets);
  const rows = [
    ...(await troubled(bench, fleets, rates)),
    ...(await regional(bench, fleets, rates)),
    ...(await overloaded(bench, fleets, rates)),
  ];
  console.table(rows);
  keep(bench, "decision-robustness", rows);
}

async function troubled(bench: Bench, fleets: readonly Fleet[], rates: readonly number[]): Promise<object[]> {
  const quiet = { name: "untroubled", options: () => ({}) };
  const all = [quiet, ...TROUBLES];
  const tasks = fleets.flatMap((fleet, at) =>
    all.map(({ options }) => {
      const ratePerSecond = LOAD * (rates[at] ?? 0);
      return runOf(fleet, ratePerSecond, options((fleet.requests * 1_000) / ratePerSecond));
    }),
  );
  const outcomes = await performAll(tasks, bench.threads);
  return fleets.flatMap((fleet, at) => {
    const [untroubled, ...runs] = outcomes.slice(at * all.length, (at + 1) * all.length).map(({ run }) => run.ttftMeanMs);
    return TROUBLES.map(({ name, most }, which) => {
      const [ms, base] = [runs[which] ?? Number.NaN, untroubled ?? Number.NaN];
      const met = "times" in most ? ms <= most.times * base : ms - base <= most.moreMs;
      const figures = { ttftMeanMs: Math.round(ms), untroubledMs: Math.round(base), ratio: Number((ms / base).toFixed(3)) };
      return { trouble: name, workload: fleet.workload, engine: fleet.engine, ...figures, ...most, met };
    });
  });
}

async function regional(bench: Bench, fleets: readonly Fleet[], rates: readonly number[]): Promise<object[]> {
  const where = { shares: SHARES, rttMs: ROUND_TRIP_MS, nearRttMs: NEAR_ROUND_TRIP_MS };
  const tasks = fleets.flatMap((fleet, at) =>
    POOL_CHOICES.map((choice) =>
      runOf(fleet, REGIONS_LOAD * (rates[at] ?? 0), { replicas: REGIONAL_REPLICAS, regions: { ...where, choice } }),
    ),
  );
  const outcomes = await performAll(tasks, bench.threads);
  return fleets.map(({ workload, engine }, at) => {
    const runs = outcomes.slice(at * POOL_CHOICES.length, (at + 1) * POOL_CHOICES.length);
    const ttftOf = (choice: (typeof POOL_CHOICES)[number]): number => runs[POOL_CHOICES.indexOf(choice)]?.run.ttftMeanMs ?? Number.NaN;
    const [ms, base] = [ttftOf("cards"), ttftOf("global")];
    const figures = { ttftMeanMs: Math.round(ms), untroubledMs: Math.round(base), ratio: Number((ms / base).toFixed(3)) };
    const nearestRatio = Number((ttftOf("nearest") / base).toFixed(3));
    return {
      trouble: "three regions, 50/30/20, by cards",
      workload,
      engine,
      ...figures,
      nearestRatio,
      times: MOST_REGIONAL,
      met: ms <= MOST_REGIONAL * base,
    };
  });
}

async function overloaded(bench: Bench, fleets: readonly Fleet[], rates: readonly number[]): Promise<object[]> {
  const options = { patienceMs: PATIENCE_MS, tpotMs: TPOT_MS };
  const tasks = fleets.flatMap((fleet, at) => OVERLOADS.map((load) => runOf(fleet, load * (rates[at] ?? 0), options)));
  const outcomes = await performAll(tasks, bench.threads);
  return fleets.map((fleet, at) => {
    const good = outcomes.slice(at * OVERLOADS.length, (at + 1) * OVERLOADS.length).map(({ run }) => run.goodPerSecond);
    const twice = good.at(-1) ?? 0;
    const most = Math.max(...good.slice(0, -1));
    const { workload, engine } = fleet;
    const share = Number((twice / most).toFixed(3));
    return {
      trouble: "twice the load: good requests a second against the most",
      workload,
      engine,
      ratio: share,
      least: 0.95,
      met: share >= 0.95,
    };
  });
}

function runOf(fleet: Fleet, ratePerSecond: number, options: Partial<Omit<SimulationOptions, "engine">>): Task & { what: "run" } {
  return { ...fleet, what: "run", policy: PRODUCT, ratePerSecond, options };
}
