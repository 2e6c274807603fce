/**
 * The soak's part at the door: a hostile client that has a key, a flood of strangers and a full disk, in turn, each beside the same honest traffic to
 * real engines, with calm parts between. Honest times are held against those of the calm parts beside them.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { until } from "../../e2e/started.ts";
import { writeResult } from "../result.ts";
import { round } from "../tiers/figures.ts";
import type { Check } from "./check.ts";
import type { AttackerCommand, AttackerReply } from "./door-attacker.ts";
import { checksOf, type Ended, PARTS, type PartName, type Row, timesOf, type Watched, withCalm } from "./door-figures.ts";
import { type Honest, type HonestOptions, playHonest } from "./door-honest.ts";
import { endRig, FLEET, rested, type Rig, startRig, takenBy, usedBy } from "./door-rig.ts";
import { makeBundle, POOL } from "./edge-process.ts";

const HONEST: Omit<HonestOptions, "seed"> = { perS: 4, mostAtOnce: 64 };
/** Tries a second are each attacker's. */
const ATTACKERS = {
  "hostile client": { who: "client", attackers: 4, perS: 1 },
  strangers: { who: "strangers", attackers: 10, perS: 30 },
} as const satisfies Partial<Record<PartName, Pick<AttackerCommand & { type: "begin" }, "who" | "attackers" | "perS">>>;
const SAMPLE_MS = 1_000;
/** What is learnt and cached at first is no part of it. */
const WARM_MS = 10_000;
const BACK_MS = 10_000;

/** Asks as a load balancer does, and looks at what the edge takes, until `untilMs`. */
async function watch(rig: Rig, untilMs: number): Promise<Watched> {
  const watched: Watched = { health: { asked: 0, notOk: 0, worstMs: 0 }, peakEdgeMib: 0, peakDescriptors: 0 };
  const { health } = watched;
  while (performance.now() < untilMs) {
    const startedMs = performance.now();
    const answer = await fetch(`${rig.edge.url}/healthz`, { signal: AbortSignal.timeout(5_000) }).catch(() => null);
    await answer?.arrayBuffer().catch(() => null);
    health.asked++;
    if (answer?.status !== 200) health.notOk++;
    health.worstMs = round(Math.max(health.worstMs, performance.now() - startedMs));
    const { edgeMib, descriptors } = takenBy(rig);
    watched.peakEdgeMib = Math.max(watched.peakEdgeMib, edgeMib);
    watched.peakDescriptors = Math.max(watched.peakDescriptors, descriptors);
    await sleep(SAMPLE_MS);
  }
  return watched;
}

async function attack({ attacker, edge, target, hostileKey }: Rig, part: PartName, seed: number): Promise<() => Promise<AttackerReply>> {
  if (part !== "hostile client" && part !== "strangers") return async () => ({});
  const door = { port: edge.port, model: target.model, apiKey: hostileKey, pool: POOL };
  await attacker.ask({ type: "begin", ...ATTACKERS[part], seed, ...door });
  return () => attacker.ask({ type: "end" });
}

async function playPart(rig: Rig, part: PartName, ms: number): Promise<{ row: Omit<Row, "calmP99Ms">; honest: Honest[] }> {
  const busySince = usedBy(rig);
  const untilMs = performance.now() + ms;
  const seed = PARTS.indexOf(part) * 100;
  rig.disk.full = part === "full disk";
  const endAttack = await attack(rig, part, seed);
  const [honest, watched] = await Promise.all([playHonest(rig.target, untilMs, { ...HONEST, seed }), watch(rig, untilMs)]);
  const attacks = await endAttack();
  rig.disk.full = false;
  const row = { part, ...timesOf(honest), busy: busySince(), ...watched, ...takenBy(rig), attacks };
  console.log(`${part}: ${JSON.stringify(row)}`);
  return { row, honest };
}

/** ms until a response is stored again, from the moment there is room. */
async function healed({ target, disk }: Rig): Promise<number> {
  const store = async (): Promise<number> => {
    const body = JSON.stringify({ model: target.model, input: "Hi", max_output_tokens: 16, store: true });
    const answer = await fetch(`${target.url}/v1/responses`, { method: "POST", headers: target.headers, body });
    await answer.arrayBuffer();
    return answer.status;
  };
  disk.full = true;
  await until("the disk is full", async () => (await store()) === 503);
  disk.full = false;
  const startedMs = performance.now();
  await until("a response is stored again", async () => (await store()) === 200, 30_000);
  return performance.now() - startedMs;
}

interface Played extends Omit<Ended, "processes"> {
  rows: Row[];
}

async function play(rig: Rig, partMs: number): Promise<Played> {
  await playHonest(rig.target, performance.now() + Math.min(WARM_MS, partMs), { ...HONEST, seed: 1 });
  let rest = await rested(rig);
  const base = takenBy(rig);
  const rows: Omit<Row, "calmP99Ms">[] = [];
  const honestIn = new Map<PartName, Honest[]>();
  let healMs = Infinity;
  for (const part of PARTS) {
    const { row, honest } = await playPart(rig, part, partMs);
    rows.push(row);
    honestIn.set(part, honest);
    if (part === "full disk") healMs = await healed(rig);
    // What one part leaves is not the next one's.
    rest = await rested(rig);
  }
  const isBack = (): boolean => takenBy(rig).descriptors <= base.descriptors;
  await until("descriptors are back", isBack, BACK_MS).catch(() => undefined);
  return { rows: withCalm(rows, honestIn), base, last: takenBy(rig), rest, healMs };
}

/** Each part takes a seventh of `minutes`. Writes `soak-door.json`. */
export async function atTheDoor(minutes: number): Promise<Check[]> {
  const bundle = await makeBundle();
  const rig = await startRig(bundle.path);
  let played: Played;
  let processes = Infinity;
  try {
    played = await play(rig, (minutes * 60_000) / PARTS.length);
  } finally {
    processes = await endRig(rig);
    await bundle.remove();
  }
  const { rows, base, last, rest, healMs } = played;
  const checks = checksOf(rows, { ...played, processes });
  const parameters = {
    minutes,
    fleet: FLEET,
    honest: HONEST,
    attackers: ATTACKERS,
    base,
    last,
    rest,
    processes,
    healMs,
    checks,
  };
  console.log(writeResult("soak-door", parameters, rows));
  return checks;
}
