/**
 * The soak's hostile part: a peer whose KV is not finite, a disk that is full, a store that fails, each in turn and then all together, under load. Every answer is held against
 * the same prompt's answer of a product without tiers, peers or load. Needs the right to mount a tmpfs for the full disk.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chat, promptOf } from "../../e2e/kv-tools.ts";
import { metric, startProduct, type Started, until } from "../../e2e/started.ts";
import { startStore } from "../../conformance/tier-store.ts";
import { seededRandom } from "../conversations.ts";
import { writeResult } from "../result.ts";
import { round, sum } from "../tiers/figures.ts";
import { sampleOf } from "../tiers/sample.ts";
import type { Check } from "./check.ts";
import { startFailingStore } from "./failing-store.ts";
import { startPoisoningPeer } from "./poisoning-peer.ts";

const MIB = 1024 * 1024;
/** Of each phase, new to all. */
const PROMPTS = 16;
const WORDS = 400;
const CALLERS = 4;
const MAX_TOKENS = 16;
const HOST_BYTES = 4 * MIB;
/** Of the file system that both replicas' disk tiers share: it holds both budgets, so that it is full only where it is filled. */
const DISK_ROOM_BYTES = 24 * MIB;
const DISK_BUDGET_BYTES = 10 * MIB;
const FLEET = { replicas: 2, sequences: 2, contextTokens: 2_048 };
const PHASES = ["none", "poisoning peer", "full disk", "failing store", "all"] as const;
type Phase = (typeof PHASES)[number];
const GROWTH = 1.3;
const GROWTH_BYTES = 48 * MIB;

interface Row {
  phase: Phase;
  answers: number;
  wrong: number;
  /** No answer of status 200. */
  failed: number;
  cachedShare: number;
  rssMib: number;
  counters: Record<string, number>;
}

/** What moves in a phase. */
const COUNTERS: Record<string, RegExp> = {
  notFiniteTransfers: /^warmpath_transfers_total\{.*outcome="not_finite"/,
  diskFull: /^warmpath_tier_full_total\{.*tier="disk"/,
  diskEvicted: /^warmpath_tier_evicted_total\{.*tier="disk"/,
  storeErrors: /^warmpath_tier_errors_total\{.*tier="store"/,
  storeDamaged: /^warmpath_tier_damaged_total\{.*tier="store"/,
  storeFull: /^warmpath_tier_full_total\{.*tier="store"/,
};
const MOVES: Record<Exclude<Phase, "none">, readonly string[]> = {
  "poisoning peer": ["notFiniteTransfers"],
  "full disk": ["diskFull"],
  "failing store": ["storeErrors", "storeDamaged"],
  // What each does by itself is held against its own phase; damaged reads are rare beside all the rest.
  all: ["notFiniteTransfers", "diskFull", "storeErrors"],
};
/** In the phase without faults none of these moves. */
const FAULTS = ["notFiniteTransfers", "diskFull", "storeErrors", "storeDamaged"] as const;

const prompts = Array.from({ length: PROMPTS * PHASES.length }, (_, n) => promptOf(7_000 + n, WORDS));

async function truth(): Promise<string[]> {
  process.env.WARMPATH_HOST_BYTES = "0";
  process.env.WARMPATH_DISK_BYTES = "0";
  const product = await startProduct({ ...FLEET, replicas: 1 });
  try {
    const texts: string[] = [];
    for (const prompt of prompts) texts.push((await chat(product, prompt, { max_tokens: MAX_TOKENS })).text);
    return texts;
  } finally {
    await product.stop();
  }
}

async function countersOf(product: Started): Promise<Record<string, number>> {
  const texts = await Promise.all(product.replicas.map(async ({ url }) => (await fetch(`${url}/metrics`)).text()));
  const lines = texts.join("\n").split("\n");
  const total = (pattern: RegExp): number =>
    sum(lines.filter((line) => pattern.test(line)).map((line) => Number(line.slice(line.lastIndexOf(" ") + 1))));
  return Object.fromEntries(Object.entries(COUNTERS).map(([name, pattern]) => [name, total(pattern)]));
}

async function play(product: Started, phase: Phase, untilMs: number, right: readonly string[]): Promise<Row> {
  const before = await countersOf(product);
  const random = seededRandom(PHASES.indexOf(phase) + 1);
  const row = { answers: 0, wrong: 0, failed: 0, prompt: 0, cached: 0 };
  const caller = async (): Promise<void> => {
    while (performance.now() < untilMs) {
      const n = PHASES.indexOf(phase) * PROMPTS + Math.floor(random() * PROMPTS);
      const { status, text, usage } = await chat(product, prompts[n] ?? [], { max_tokens: MAX_TOKENS });
      row.answers += 1;
      if (status !== 200) row.failed += 1;
      else if (text !== right[n]) row.wrong += 1;
      row.prompt += usage.prompt_tokens;
      row.cached += usage.prompt_tokens_details?.cached_tokens ?? 0;
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  const after = await countersOf(product);
  const counters = Object.fromEntries(Object.entries(after).map(([name, value]) => [name, value - (before[name] ?? 0)]));
  const names = product.replicas.map(({ name }) => name);
  const { rssBytes } = await sampleOf(product, names);
  const { answers, wrong, failed } = row;
  const told: Row = {
    phase,
    answers,
    wrong,
    failed,
    cachedShare: round(row.cached / Math.max(1, row.prompt), 3),
    rssMib: round(rssBytes.replicas / MIB),
    counters,
  };
  console.log(`${phase}: ${JSON.stringify(told)}`);
  return told;
}

interface Disk {
  directory: string;
  /** Takes all that is left. */
  fill(full: boolean): void;
  close(): void;
}

/** A small file system of its own. */
function smallDisk(): Disk | null {
  const directory = mkdtempSync(join(tmpdir(), "warmpath-small-disk-"));
  if (spawnSync("mount", ["-t", "tmpfs", "-o", `size=${DISK_ROOM_BYTES}`, "tmpfs", directory]).status !== 0) return null;
  const ballast = join(directory, "ballast");
  return {
    directory,
    fill: (full) => void (full ? spawnSync("dd", ["if=/dev/zero", `of=${ballast}`, "bs=64k"]) : rmSync(ballast, { force: true })),
    close: () => {
      spawnSync("umount", [directory]);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function checksOf(rows: readonly Row[], leases: number | null, missing: number): Check[] {
  const checks: Check[] = [];
  const atMost = (what: string, value: number, limit: number): void => void checks.push({ what, value, limit, ok: value <= limit });
  for (const { phase, wrong, failed, answers, counters } of rows) {
    atMost(`wrong answers, ${phase}`, wrong, 0);
    atMost(`answers without status 200, ${phase}`, failed, 0);
    checks.push({ what: `answers, ${phase}`, value: answers, limit: 1, ok: answers >= 1 });
    if (phase === "none") {
      for (const name of FAULTS) atMost(`${name} moved, ${phase}`, counters[name] ?? 0, 0);
      continue;
    }
    for (const name of MOVES[phase])
      checks.push({ what: `${name} moved, ${phase}`, value: counters[name] ?? 0, limit: 1, ok: (counters[name] ?? 0) >= 1 });
  }
  const [first] = rows;
  const limit = (first?.rssMib ?? 0) * GROWTH + GROWTH_BYTES / MIB;
  for (const { phase, rssMib } of rows.slice(1)) atMost(`RSS of the replicas, ${phase}, MiB`, rssMib, round(limit));
  atMost("leases at the end", leases ?? Infinity, 0);
  atMost("replicas missing at the end", missing, 0);
  return checks;
}

/** Each phase takes a fifth of `minutes`. */
export async function hostileKv(minutes: number): Promise<Check[]> {
  const right = await truth();
  const disk = smallDisk();
  if (disk === null) throw new Error("The full disk needs the right to mount a tmpfs.");
  const store = await startStore();
  const failing = await startFailingStore(store);
  const tiers = {
    WARMPATH_HOST_BYTES: String(HOST_BYTES),
    WARMPATH_DISK_BYTES: String(DISK_BUDGET_BYTES),
    WARMPATH_STORE_URL: failing.endpoint,
    WARMPATH_STORE_BUCKET: "blocks",
    WARMPATH_STORE_REGION: "us-east-1",
    WARMPATH_STORE_KEY_ID: "S3RVER",
    WARMPATH_STORE_SECRET: "S3RVER",
  };
  Object.assign(process.env, tiers, { WARMPATH_DISK_DIRECTORY: disk.directory });
  const product = await startProduct({ ...FLEET, profile: "round-robin" });
  // It has no store: what it computes must come to the others by pulls.
  const peer = await startPoisoningPeer(product, {
    WARMPATH_STORE_URL: "http://127.0.0.1:1",
    WARMPATH_DISK_BYTES: "0",
    WARMPATH_HOST_BYTES: String(64 * MIB),
  });
  const rows: Row[] = [];
  let checks: Check[];
  try {
    await until("all are ready", async () => (await metric(product, "warmpath_replicas_ready")) === FLEET.replicas + 1);
    for (const phase of PHASES) {
      peer.on = phase === "poisoning peer" || phase === "all";
      failing.on = phase === "failing store" || phase === "all";
      disk.fill(phase === "full disk" || phase === "all");
      rows.push(await play(product, phase, performance.now() + (minutes * 60_000) / PHASES.length, right));
      disk.fill(false);
    }
    peer.on = failing.on = false;
    const leases = await until("no lease is left", async () => ((await metric(product, "warmpath_leases")) === 0 ? 1 : null)).then(
      () => 0,
      () => metric(product, "warmpath_leases"),
    );
    const ready = (await metric(product, "warmpath_replicas_ready")) ?? 0;
    checks = checksOf(rows, leases, FLEET.replicas + 1 - ready);
    const parameters = {
      minutes,
      fleet: FLEET,
      prompts: PROMPTS,
      callers: CALLERS,
      hostBytes: HOST_BYTES,
      diskRoomBytes: DISK_ROOM_BYTES,
      poisoned: peer.poisoned,
      failed: failing.failed,
      checks,
    };
    console.log(writeResult("soak-hostile-kv", parameters, rows));
  } finally {
    await peer.close();
    await product.stop();
    await failing.close();
    await store.close();
    disk.close();
  }
  return checks;
}
