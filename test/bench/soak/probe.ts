/** The same calm load on an edge, whatever its past: what it predicts then, and what it takes. */
import { setTimeout as sleep } from "node:timers/promises";
import { median, percentile, round } from "../tiers/figures.ts";
import { LENGTHS } from "./beliefs.ts";
import type { SoakEdge } from "./edge-process.ts";
import { Load } from "./load.ts";
import { idlePredictions, type OffSummary, type Predicted, predictedOf, recordsOf, summaryOf } from "./predictions.ts";
import { CALM, paced } from "./prompts.ts";
import { CpuMeter, type Taken, takenBy } from "./windows.ts";

const SAMPLE_EVERY_MS = 2_000;
const SAMPLE_RECORDS = 300;
/** Same prompts for each. */
const SEED = 77;

export interface Probed extends Taken {
  cpuMsPerRequest: number;
  latencyP50Ms: number;
  latencyP99Ms: number;
  failed: number;
  refused: number;
  predictions: OffSummary;
  /** Median over the probe of what is predicted on an idle replica, in the order of LENGTHS, by replica. */
  beliefMs: Record<string, number[]>;
}

export async function probe(edge: SoakEdge, requests: number, pace: number): Promise<Probed> {
  const load = new Load(edge, { seed: SEED, onSent: () => undefined, isQuiet: () => true });
  const cpu = new CpuMeter(edge, 0);
  const predicted: Predicted[] = [];
  const beliefs: Map<string, number[]>[] = [];
  let lastMs = 0;
  let ended = false;
  const sampling = (async () => {
    const quietSinceMs = Date.now();
    while (!ended) {
      await sleep(SAMPLE_EVERY_MS);
      const all = await recordsOf(edge, SAMPLE_RECORDS);
      const fresh = all.filter(({ record }) => record.decidedAtMs > Math.max(lastMs, quietSinceMs));
      lastMs = Math.max(lastMs, ...fresh.map(({ record }) => record.decidedAtMs).filter((atMs) => Date.now() - atMs > SAMPLE_EVERY_MS));
      predicted.push(...predictedOf(fresh, Date.now(), quietSinceMs));
      const newest = all.at(-1);
      if (newest !== undefined) beliefs.push(idlePredictions(newest.record, LENGTHS));
    }
  })();
  await load.play(requests, () => paced(CALM, pace), 0);
  ended = true;
  await sampling;
  load.end();
  const latencies = load.takeLatencies();
  const names = new Set(beliefs.flatMap((belief) => [...belief.keys()]));
  return {
    ...takenBy(edge),
    cpuMsPerRequest: cpu.since(requests).cpuMsPerRequest ?? Number.NaN,
    latencyP50Ms: round(percentile(latencies, 0.5)),
    latencyP99Ms: round(percentile(latencies, 0.99)),
    failed: load.counts.failed,
    refused: load.counts.refused,
    predictions: summaryOf(predicted),
    beliefMs: Object.fromEntries(
      [...names]
        .toSorted()
        .map((name) => [name, LENGTHS.map((_, at) => round(median(beliefs.flatMap((belief) => belief.get(name)?.[at] ?? [])), 2))]),
    ),
  };
}
