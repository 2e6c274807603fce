/**
 * `node test/bench/real.ts`: the agent generator's plan, scaled to this machine, through the real edge on four embedded replicas under each profile, twice
 * in opposite orders; beside it what the simulator says of the same requests, its constants fitted on other requests. Needs a quiet machine:
 * with another load on it, replicas are slower than the constants say.
 *
 *   --quick      few requests, one pass
 *   --passes N   instead of two
 *   --keep FILE  what clients and pool saw of each request, as JSON
 *   --from FILE  runs nothing: predicts again for what was kept
 */
import { readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { ProfileName } from "../../src/decision/profiles.ts";
import { startProduct } from "../e2e/started.ts";
import { makeConversations, play } from "./conversations.ts";
import { askedPlan, countedPlan, type Scale } from "./real/asked.ts";
import { calibrate, type Calibration, type Hardware } from "./real/calibrate.ts";
import { predict } from "./real/fleet.ts";
import { type Figures, figuresOf, meanOf, ratioOf, rounded } from "./real/measured.ts";
import { playPlan, type Seen } from "./real/play.ts";
import { roomTokens } from "./real/room.ts";
import { writeResult } from "./result.ts";

const PROFILES = ["cache-aware", "round-robin", "least-loaded", "sticky"] as const;
type Profile = (typeof PROFILES)[number] & ProfileName;

const { values: given } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    passes: { type: "string", default: "2" },
    keep: { type: "string" },
    from: { type: "string" },
  },
});

const FLEET = { replicas: 4, sequences: 8, contextTokens: 6_144 };
const PASSES = given.quick ? 1 : Math.min(8, Math.max(1, Number(given.passes) || 2));
/** Lengths about a fortieth, pauses three hundredths of the generator's. */
const SCALE: Scale = {
  requests: given.quick ? 60 : 400,
  requestsPerSecond: 30,
  wordsPerToken: 0.018,
  outputShare: 0.12,
  leastOutputTokens: 10,
  mostOutputTokens: 40,
  pauseShare: 0.03,
};
const SEED = 7;
/** Other requests than those that are measured, for the constants; once with little to compute, once with much. */
const CALIBRATION = { seed: 8, requests: given.quick ? 60 : 250, profiles: ["cache-aware", "round-robin"] as const };
/** The embedded engine's blocks, and the most tokens of a batch (gpu-backend/engine/llama-cpp). */
const HARDWARE: Hardware = { cores: availableParallelism(), sequences: FLEET.sequences, blockTokens: 32, stepTokens: 512 };
/** One tier only: the simulated fleet has no other. Prefills elsewhere are off; pulls cannot be, and are predicted. */
const ENVIRONMENT = { WARMPATH_HOST_BYTES: "0", WARMPATH_DISK_BYTES: "0", WARMPATH_REMOTE_PREFILL_TOKENS: "0" };

interface Run {
  profile: Profile;
  /** Cores that others kept busy just before it; null where nobody looked. */
  busyBefore: number | null;
  seen: Seen[];
}

interface Kept {
  calibration: Run[];
  /** Pass by pass. */
  measured: Run[];
}

interface Row {
  profile: Profile;
  requests: number;
  failed: number;
  /** Requests of a pass for which blocks were pulled, and so many by the prediction. */
  pulls: number;
  predictedPulls: number;
  /** Mean of the passes. */
  measured: Figures;
  /** Each pass alone: how far two runs of the same are apart. */
  passes: (Figures & Pick<Run, "busyBefore">)[];
  /** Replicas share the machine's cores. */
  predicted: Figures;
  /** Predicted by measured. */
  ratio: Figures;
  /** The same, were each replica alone on its machine: the simulator as it is. */
  predictedAlone: Figures;
  ratioAlone: Figures;
}

const LOOK_MS = 1_000;

async function coresBusy(): Promise<number> {
  const idleMs = (): number => cpus().reduce((sum, { times }) => sum + times.idle, 0);
  const [beforeMs, startMs] = [idleMs(), performance.now()];
  await sleep(LOOK_MS);
  return Number(Math.max(0, HARDWARE.cores - (idleMs() - beforeMs) / (performance.now() - startMs)).toFixed(2));
}

async function run(profile: Profile, seed: number, requests: number): Promise<Run> {
  Object.assign(process.env, ENVIRONMENT);
  const busyBefore = await coresBusy();
  const product = await startProduct({ ...FLEET, profile });
  try {
    // The first request of an edge and of each replica pays for what is loaded then; of another text than the plan's.
    const warming = makeConversations({ seed: 1, groups: 8, conversations: 8, turns: 1, systemBytes: 64, userWords: 60 });
    await play(product, warming, { concurrency: 4, maxTokens: 8 });
    return { profile, busyBefore, seen: await playPlan(product, askedPlan(seed, { ...SCALE, requests }).asked) };
  } finally {
    await product.stop();
  }
}

async function runAll(): Promise<Kept> {
  const kept: Kept = { calibration: [], measured: [] };
  for (let pass = 1; pass <= PASSES; pass++) {
    // Each before a pass: constants are of the same hour as what they predict.
    const toLearn = CALIBRATION.profiles.filter((_, at) => at % PASSES === pass - 1);
    for (const profile of toLearn) kept.calibration.push(await run(profile, CALIBRATION.seed, CALIBRATION.requests));
    // The second pass in the opposite order, so that a machine that grows busier favours none.
    for (const profile of pass % 2 === 1 ? PROFILES : PROFILES.toReversed()) kept.measured.push(await run(profile, SEED, SCALE.requests));
  }
  return kept;
}

function rowOf(profile: Profile, { measured }: Kept, calibration: Calibration): Row {
  const mine = measured.filter((one) => one.profile === profile);
  const runs = mine.map(({ seen }) => seen);
  const passes = mine.map(({ seen, busyBefore }) => ({ ...rounded(figuresOf(seen)), busyBefore }));
  const mean = meanOf(passes);
  const plan = countedPlan(askedPlan(SEED, SCALE), runs[0] ?? []);
  const machine = { replicas: FLEET.replicas, seed: SEED };
  const shared = predict(plan, profile, calibration, { ...machine, cores: HARDWARE.cores });
  const alone = predict(plan, profile, calibration, { ...machine, cores: Infinity });
  const [predicted, predictedAlone] = [rounded(shared.measures), rounded(alone.measures)];
  const all = runs.flat();
  return {
    profile,
    requests: all.length,
    failed: all.filter(({ failed }) => failed).length,
    pulls: all.filter(({ attempt }) => (attempt?.outcome.transfer?.tokens ?? 0) > 0).length / Math.max(1, runs.length),
    predictedPulls: shared.pulls,
    measured: mean,
    passes,
    predicted,
    ratio: ratioOf(predicted, mean),
    predictedAlone,
    ratioAlone: ratioOf(predictedAlone, mean),
  };
}

const kept = given.from === undefined ? await runAll() : (JSON.parse(readFileSync(given.from, "utf8")) as Kept);
if (given.keep !== undefined) writeFileSync(given.keep, JSON.stringify(kept));
const logs = kept.calibration.map(({ seen }) => seen);
const calibrationPlan = askedPlan(CALIBRATION.seed, { ...SCALE, requests: CALIBRATION.requests });
const rooms = logs.flatMap((seen) => roomTokens(countedPlan(calibrationPlan, seen), seen, FLEET.sequences) ?? []);
// Never full: all of it.
const room = rooms.length === 0 ? FLEET.sequences * FLEET.contextTokens : rooms.reduce((sum, tokens) => sum + tokens, 0) / rooms.length;
const calibration = calibrate(logs, room, HARDWARE);
const rows = PROFILES.map((profile) => rowOf(profile, kept, calibration));
const prompts = kept.measured[0]?.seen.map(({ promptTokens }) => promptTokens).sort((left, right) => left - right) ?? [];
const parameters = {
  model: "warmpath-demo",
  fleet: FLEET,
  environment: ENVIRONMENT,
  passes: PASSES,
  seed: SEED,
  scale: SCALE,
  promptTokens: { median: prompts[Math.floor(prompts.length / 2)], most: prompts.at(-1) },
  calibration: { ...CALIBRATION, ...calibration },
};
const file = given.quick ? null : writeResult("real", parameters, rows);
console.log(calibration);
for (const part of ["measured", "predicted", "ratio", "ratioAlone"] as const) {
  console.log(part);
  console.table(Object.fromEntries(rows.map((row) => [row.profile, row[part]])));
}
console.log(file ?? "--quick: no result is kept");
