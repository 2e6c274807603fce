/** What the decision loses when what it knows is late, lost or missing, when replicas go, when it spans regions, and when more is asked than can be done. */
import { POOL_CHOICES } from "../../../simulator/regional-router.ts";
import { type Bench, type Fleet, fleetsOf, keep, keepAgain, PRODUCT, type Row, saturations } from "./bench.ts";
import type { RunOptions, Task } from "./task.ts";
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

/** A run is one of many that could have been: means over so many seeds. */
const SEEDS = 4;
/** And at least so long: a replica that goes is away for five minutes or more, and how cold a fleet starts is over with the warm-up. The trace is as long as it is. */
const LEAST_SECONDS = 900;
/** At twice the load a fleet that knows nothing yet is full before the first answers end: long runs, so that the start is the warm-up. */
const OVERLOAD_REQUESTS = 20_000;

interface Trouble {
  name: string;
  options: RunOptions;
  /** Mean time to the first token against the untroubled run, at most: so many times, or so many ms more. */
  most: { times: number } | { moreMs: number };
}

/** One of eight goes at a third of the run, and comes back empty a third later. */
const GOES: RunOptions["turnover"] = [
  { atShare: 1 / 3, replica: 3, change: "leave" },
  { atShare: 2 / 3, replica: 3, change: "join" },
];

const TROUBLES: readonly Trouble[] = [
  { name: "events 5 s late", options: { eventDelayMs: 5_000 }, most: { times: 1.05 } },
  { name: "no events", options: { announced: false }, most: { times: 1.1 } },
  { name: "10 % of events lost", options: { eventLoss: 0.1 }, most: { times: 1.05 } },
  { name: "booking takes 20 ms", options: { bookingMs: 20 }, most: { moreMs: 50 } },
  { name: "one of 8 replicas goes and returns", options: { turnover: GOES }, most: { times: 1.25 } },
  { name: "16 edges", options: { edges: 16 }, most: { times: 1 } },
];

export async function robustnessPart(bench: Bench): Promise<void> {
  const fleets = fleetsOf(bench, [1]);
  const rates = await saturations(bench, fleets);
  const long = fleets.map((fleet, at) => ({ ...fleet, requests: Math.max(fleet.requests, Math.ceil(LEAST_SECONDS * (rates[at] ?? 0))) }));
  const { troubles } = bench;
  if (troubles !== null) {
    const again: Row[] = [
      ...(await troubled(bench, long, rates, (name) => troubles.includes(name))),
      ...(troubles.includes("regions") ? await regional(bench, long, rates) : []),
    ];
    console.table(again);
    return keepAgain(bench, "decision-robustness", again, ["trouble", "workload", "engine"]);
  }
  const rows = [
    ...(await troubled(bench, long, rates)),
    ...(await regional(bench, long, rates)),
    ...(await overloaded(bench, fleets, rates)),
  ];
  console.table(rows);
  keep(bench, "decision-robustness", rows);
}

/** Mean time to the first token of each fleet under each of `options`, over the seeds. */
async function means(
  bench: Bench,
  fleets: readonly Fleet[],
  options: (at: number) => (RunOptions & { ratePerSecond: number })[],
): Promise<number[][]> {
  const tasks = fleets.flatMap((fleet, at) =>
    options(at).flatMap(({ ratePerSecond, ...rest }) =>
      Array.from({ length: SEEDS }, (_, seed) => runOf({ ...fleet, seed: fleet.seed + seed }, ratePerSecond, rest)),
    ),
  );
  const outcomes = await performAll(tasks, bench.threads);
  const ttfts = outcomes.map(({ run }) => run.ttftMeanMs);
  const mean = (from: number): number => ttfts.slice(from, from + SEEDS).reduce((sum, ms) => sum + ms, 0) / SEEDS;
  const each = ttfts.length / Math.max(1, fleets.length) / SEEDS;
  return fleets.map((_, at) => Array.from({ length: each }, (__, which) => mean((at * each + which) * SEEDS)));
}

async function troubled(
  bench: Bench,
  fleets: readonly Fleet[],
  rates: readonly number[],
  isAsked = (_name: string) => true,
): Promise<Row[]> {
  const troubles = TROUBLES.filter(({ name }) => isAsked(name));
  if (troubles.length === 0) return [];
  const all = [{}, ...troubles.map(({ options }) => options)];
  const ttfts = await means(bench, fleets, (at) => {
    const ratePerSecond = LOAD * (rates[at] ?? 0);
    return all.map((options) => ({ ratePerSecond, ...options }));
  });
  return fleets.flatMap(({ workload, engine }, at) => {
    const [base = Number.NaN, ...runs] = ttfts[at] ?? [];
    return troubles.map(({ name, most }, which) => {
      const ms = runs[which] ?? Number.NaN;
      const met = "times" in most ? ms <= most.times * base : ms - base <= most.moreMs;
      const figures = { ttftMeanMs: Math.round(ms), untroubledMs: Math.round(base), ratio: Number((ms / base).toFixed(3)) };
      return { trouble: name, workload, engine, ...figures, ...most, met };
    });
  });
}

async function regional(bench: Bench, fleets: readonly Fleet[], rates: readonly number[]): Promise<Row[]> {
  const where = { shares: SHARES, rttMs: ROUND_TRIP_MS, nearRttMs: NEAR_ROUND_TRIP_MS };
  const ttfts = await means(bench, fleets, (at) => {
    const ratePerSecond = REGIONS_LOAD * (rates[at] ?? 0);
    return POOL_CHOICES.map((choice) => ({ ratePerSecond, replicas: REGIONAL_REPLICAS, regions: { ...where, choice } }));
  });
  return fleets.map(({ workload, engine }, at) => {
    const ttftOf = (choice: (typeof POOL_CHOICES)[number]): number => ttfts[at]?.[POOL_CHOICES.indexOf(choice)] ?? Number.NaN;
    const [ms, base] = [ttftOf("cards"), ttftOf("global")];
    const figures = { ttftMeanMs: Math.round(ms), untroubledMs: Math.round(base), ratio: Number((ms / base).toFixed(3)) };
    const nearestRatio = Number((ttftOf("nearest") / base).toFixed(3));
    const trouble = "three regions, 50/30/20, by cards";
    return { trouble, workload, engine, ...figures, nearestRatio, times: MOST_REGIONAL, met: ms <= MOST_REGIONAL * base };
  });
}

async function overloaded(bench: Bench, fleets: readonly Fleet[], rates: readonly number[]): Promise<object[]> {
  const options = { patienceMs: PATIENCE_MS, tpotMs: TPOT_MS };
  const tasks = fleets.flatMap((fleet, at) =>
    OVERLOADS.map((load) => runOf({ ...fleet, requests: OVERLOAD_REQUESTS }, load * (rates[at] ?? 0), options)),
  );
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

function runOf(fleet: Fleet, ratePerSecond: number, options: RunOptions): Task & { what: "run" } {
  return { ...fleet, what: "run", policy: PRODUCT, ratePerSecond, options };
}
