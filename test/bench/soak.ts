/**
 * `node test/bench/soak.ts [--only hostile-kv] [--minutes 10]` (the hostile part: soak/hostile-kv.ts): the started product under more load than it can take, with callers who leave and replicas
 * that are killed, while its memory, its disk tiers and its leases are watched. Exits with 1 when a budget is not kept.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { replicaPid } from "../e2e/processes.ts";
import { startProduct, type Started, until } from "../e2e/started.ts";
import { seededRandom } from "./conversations.ts";
import { writeResult } from "./result.ts";
import { type Fickle, type FickleOptions, startFickle } from "./tiers/fickle.ts";
import { median, round, sum } from "./tiers/figures.ts";
import { type Sample, sampleOf } from "./tiers/sample.ts";

const MIB = 1024 * 1024;
const { values } = parseArgs({ options: { only: { type: "string" }, minutes: { type: "string", default: "10" } } });
const minutes = Number(values.minutes);
if (!(minutes > 0)) throw new Error("--minutes is a number above 0.");
if (values.only === "hostile-kv") {
  const { hostileKv } = await import("./soak/hostile-kv.ts");
  const hostile = await hostileKv(minutes);
  console.table(hostile);
  process.exit(hostile.every(({ ok }) => ok) ? 0 : 1);
}
const HOST_BYTES = 8 * MIB;
const DISK_BYTES = 16 * MIB;
const FLEET = { replicas: 2, sequences: 4, contextTokens: 2_048 };
const LOAD: FickleOptions = {
  callers: 16,
  seed: 11,
  cancelShare: 0.3,
  cancelWithinMs: 2_000,
  prompts: 60,
  promptWords: 400,
  maxTokens: 48,
};
const SAMPLE_MS = 2_000;
const KILL_MS = 45_000;
const DRAIN_MS = 20_000;
/** Memory of a kind of process in the last quarter, over that in the second. */
const GROWTH = 1.25;
const GROWTH_BYTES = 32 * MIB;
const KINDS = ["launcher", "edge", "replicas", "engines", "all"] as const;

interface Check {
  what: string;
  value: number;
  limit: number;
  ok: boolean;
}

const mib = (bytes: number): number => round(bytes / MIB);
const namesOf = ({ replicas }: Started): string[] => replicas.map(({ name }) => name);
const diskBytes = ({ disk }: Sample): number => Math.max(...disk.map(({ bytes }) => bytes));

function say(sample: Sample, startedMs: number, { counts }: Fickle): void {
  const { rssBytes, disk, running, leases, line, ready } = sample;
  const files = disk.map((one) => `${one.files} files ${mib(one.bytes)} MiB`).join(", ");
  const ends = Object.entries(counts).map(([name, count]) => `${name} ${count}`);
  const seconds = Math.round((sample.atMs - startedMs) / 1_000);
  console.log(
    `${seconds} s: RSS ${mib(rssBytes.all)} MiB; ${files}; running ${running.join(" + ")}, leases ${leases}, line ${line}, ready ${ready}; ${ends.join(", ")}`,
  );
}

/** Until then; the replicas that were killed. */
async function disturb(product: Started, untilMs: number): Promise<string[]> {
  const random = seededRandom(12);
  const names = namesOf(product);
  const killed: string[] = [];
  for (;;) {
    const pauseMs = KILL_MS * (0.8 + 0.4 * random());
    // The last one has time to come back.
    if (performance.now() + pauseMs > untilMs - 10_000) return killed;
    await sleep(pauseMs);
    const name = names[Math.floor(random() * names.length)] ?? "";
    const pid = replicaPid(product, name);
    if (pid === undefined) continue;
    process.kill(pid, "SIGKILL");
    killed.push(name);
    console.log(`killed ${name}`);
  }
}

async function watch(product: Started, load: Fickle, untilMs: number): Promise<Sample[]> {
  const startedMs = performance.now();
  const samples: Sample[] = [];
  while (performance.now() < untilMs) {
    const sample = await sampleOf(product, namesOf(product));
    samples.push(sample);
    if (samples.length % 5 === 1) say(sample, startedMs, load);
    await sleep(SAMPLE_MS);
  }
  return samples;
}

/** The last sample, or the first in which nothing goes on any more. */
async function drained(product: Started): Promise<Sample> {
  const still = async (): Promise<Sample | null> => {
    const sample = await sampleOf(product, namesOf(product));
    const incoming = sample.disk.some((one) => one.incoming > 0);
    const idle = sample.running.every((running) => running === 0);
    return idle && sample.leases === 0 && sample.line === 0 && sample.ready === FLEET.replicas && !incoming ? sample : null;
  };
  return until("all is at rest", still, DRAIN_MS).catch(() => sampleOf(product, namesOf(product)));
}

/** Memory against its own past, disk against its budget, and nothing left behind. */
function checksOf(samples: readonly Sample[], last: Sample, load: Fickle): Check[] {
  const quarter = Math.floor(samples.length / 4);
  const checks: Check[] = [];
  const atMost = (what: string, value: number, limit: number): void => {
    checks.push({ what, value, limit, ok: value <= limit });
  };
  for (const kind of KINDS) {
    const rss = (part: readonly Sample[]): number => median(part.map(({ rssBytes }) => rssBytes[kind]));
    const early = rss(samples.slice(quarter, 2 * quarter));
    atMost(`RSS of ${kind} in the last quarter, MiB`, mib(rss(samples.slice(-quarter))), mib(early * GROWTH + GROWTH_BYTES));
  }
  for (const { replica, bytes, incoming } of last.disk) {
    atMost(`disk tier of ${replica} at the end, MiB`, mib(bytes), mib(DISK_BYTES));
    atMost(`unfinished files of ${replica} at the end`, incoming, 0);
  }
  atMost("largest disk tier of all samples, MiB", mib(Math.max(...samples.map(diskBytes))), mib(DISK_BYTES));
  atMost("requests that replicas run at the end", sum(last.running.map((running) => running ?? Infinity)), 0);
  atMost("leases at the end", last.leases ?? Infinity, 0);
  atMost("requests in line at the end", last.line ?? Infinity, 0);
  atMost("replicas missing at the end", FLEET.replicas - (last.ready ?? 0), 0);
  atMost("streams that ended silently", load.counts.silent, 0);
  return checks;
}

process.env.WARMPATH_HOST_BYTES = String(HOST_BYTES);
process.env.WARMPATH_DISK_BYTES = String(DISK_BYTES);
const product = await startProduct(FLEET);
let checks: Check[];
try {
  const untilMs = performance.now() + minutes * 60_000;
  const load = startFickle(product, LOAD);
  const [samples, killed] = await Promise.all([watch(product, load, untilMs), disturb(product, untilMs)]);
  await load.end();
  const last = await drained(product);
  say(last, samples[0]?.atMs ?? 0, load);
  checks = checksOf(samples, last, load);
  const budgets = { hostBytes: HOST_BYTES, diskBytes: DISK_BYTES, growth: GROWTH, growthBytes: GROWTH_BYTES };
  const parameters = {
    minutes,
    fleet: FLEET,
    load: LOAD,
    budgets,
    killEveryMs: KILL_MS,
    sampleMs: SAMPLE_MS,
    killed,
    outcomes: load.counts,
    checks,
  };
  console.log(writeResult("soak", parameters, [...samples, last]));
} finally {
  await product.stop();
}
console.table(checks);
if (checks.some(({ ok }) => !ok)) process.exitCode = 1;
