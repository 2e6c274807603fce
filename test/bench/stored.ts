/**
 * What stored responses cost a self-hosted edge: in bare workerd, through /v1/responses, with a replica that answers at once and stores 20 KB at the edge.
 * fsyncs a response by strace, where that is installed; chats beside 50 stores a second, and beside as many that are not stored, in turn, as what else
 * runs on the machine comes and goes; files and bytes after 10,000 were stored and deleted.
 * Writes test/bench/results/stored.json. `npm run bench:stored -- [RESPONSES]`
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { endArms, startEdge } from "./edge/arms.ts";
import { endChildren } from "./edge/child.ts";
import { cpuMs, round } from "./edge/cpu.ts";
import { MODEL } from "./edge/prompts.ts";
import { joinReplicas, sleep, startMock } from "./edge/setup.ts";
import { writeResult } from "./result.ts";

const RESPONSES = Number(process.argv[2] ?? 10_000);
const STORES_PER_S = 50;
const ROUNDS = 4;
/** Of each kind in a round. */
const SECONDS = 5;
const CHATS_AT_ONCE = 2;
const CHAT_PAUSE_MS = 20;
const AT_ONCE = 64;

type Beside = "chats alone" | "chats beside responses that are not stored" | "chats beside stores";

type Row =
  | {
      part: Beside;
      chats: number;
      p50Ms: number;
      p99Ms: number;
      responsesPerS: number;
      /** Processors that the edge used. */
      edgeCores: number;
      /** The first load average at the end. */
      load: number;
    }
  | { part: "fsyncs"; stores: boolean; responses: number; fsyncs: number | null; perResponse: number | null }
  | { part: "stored" | "deleted"; responses: number; perS: number; files: number; megabytes: number };

const edge = await startEdge();
const edgeCpuMs = (): number => (edge.pid === null ? 0 : cpuMs(edge.pid));
const objects = edge.command.find((word) => word.startsWith("objects="))?.slice("objects=".length) ?? "";
const { mock, ports } = await startMock(1);
await joinReplicas(edge, mock, ports, 1);
const headers = { ...edge.headers, "content-type": "application/json" };

async function ask(path: string, body: object): Promise<string> {
  const answer = await fetch(`${edge.origin}${path}`, { method: "POST", headers, body: JSON.stringify({ model: MODEL, ...body }) });
  await answer.arrayBuffer();
  if (answer.status !== 200) throw new Error(`${path}: ${answer.status}`);
  return answer.headers.get("x-request-id") ?? "";
}

/** All that were stored. */
const ids: string[] = [];
async function respond(store: boolean): Promise<void> {
  const requestId = await ask("/v1/responses", { input: "Hi", store });
  if (store) ids.push(`resp_${requestId.slice("req_".length)}`);
}
const chat = (): Promise<string> => ask("/v1/chat/completions", { messages: [{ role: "user", content: "Hi" }] });

/** So many a second, whether the ones before have been answered or not. */
async function paced(perS: number, untilMs: number, work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  const running: Promise<unknown>[] = [];
  while (performance.now() < untilMs) {
    for (; running.length < ((performance.now() - startedMs) * perS) / 1_000;) running.push(work());
    await sleep(5);
  }
  await Promise.all(running);
  return running.length;
}

interface Played {
  tookMs: number[];
  responses: number;
  cpuMs: number;
}

async function chats(beside: (() => Promise<unknown>) | null): Promise<Played> {
  const cpuBeforeMs = edgeCpuMs();
  const endMs = performance.now() + SECONDS * 1_000;
  const tookMs: number[] = [];
  const responses = beside === null ? Promise.resolve(0) : paced(STORES_PER_S, endMs, beside);
  const client = async (): Promise<void> => {
    while (performance.now() < endMs) {
      const startedMs = performance.now();
      await chat();
      tookMs.push(performance.now() - startedMs);
      await sleep(CHAT_PAUSE_MS);
    }
  };
  await Promise.all(Array.from({ length: CHATS_AT_ONCE }, client));
  return { tookMs, responses: await responses, cpuMs: edgeCpuMs() - cpuBeforeMs };
}

async function besides(): Promise<Row[]> {
  const kinds: [Beside, (() => Promise<unknown>) | null][] = [
    ["chats alone", null],
    ["chats beside responses that are not stored", () => respond(false)],
    ["chats beside stores", () => respond(true)],
  ];
  const played = new Map(kinds.map(([part]): [Beside, Played[]] => [part, []]));
  for (let round = 0; round < ROUNDS; round++) for (const [part, beside] of kinds) played.get(part)?.push(await chats(beside));
  return [...played].map(([part, rounds]) => {
    const tookMs = rounds.flatMap((one) => one.tookMs).toSorted((left, right) => left - right);
    const at = (share: number): number => round(tookMs[Math.floor((tookMs.length - 1) * share)] ?? 0, 1);
    const perS = (of: (one: Played) => number): number => rounds.reduce((total, one) => total + of(one), 0) / (ROUNDS * SECONDS);
    return {
      part,
      chats: tookMs.length,
      p50Ms: at(0.5),
      p99Ms: at(0.99),
      responsesPerS: round(
        perS((one) => one.responses),
        1,
      ),
      edgeCores: round(perS((one) => one.cpuMs) / 1_000, 2),
      load: round(loadavg()[0] ?? 0, 1),
    };
  });
}

async function fsyncs(stores: boolean, responses: number): Promise<Row> {
  const folder = mkdtempSync(join(tmpdir(), "warmpath-strace-"));
  const file = join(folder, "counts");
  const strace = spawn("strace", ["-f", "-e", "trace=fsync,fdatasync", "-o", file, "-p", String(edge.pid)], { stdio: "ignore" });
  const started = await new Promise<boolean>((resolve) => {
    strace.once("error", () => resolve(false));
    setTimeout(() => resolve(true), 1_000);
  });
  for (let n = 0; n < responses; n++) await respond(stores);
  if (started) await new Promise((resolve) => strace.once("exit", resolve) && strace.kill("SIGINT"));
  const count = started ? (readFileSync(file, "utf8").match(/f(?:data)?sync\(/g)?.length ?? 0) : null;
  rmSync(folder, { recursive: true, force: true });
  return { part: "fsyncs", stores, responses, fsyncs: count, perResponse: count === null ? null : round(count / responses, 2) };
}

async function inTurn<T>(inputs: readonly T[], work: (input: T) => Promise<void>): Promise<number> {
  const startedMs = performance.now();
  let next = 0;
  const client = async (): Promise<void> => {
    for (let input = inputs[next++]; input !== undefined; input = inputs[next++]) await work(input);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, client));
  return round((inputs.length * 1_000) / (performance.now() - startedMs), 1);
}

function kept(): { files: number; megabytes: number } {
  const files = readdirSync(objects, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const bytes = files.reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0);
  return { files: files.length, megabytes: round(bytes / 1e6, 1) };
}

async function drop(id: string): Promise<void> {
  const answer = await fetch(`${edge.origin}/v1/responses/${id}`, { method: "DELETE", headers });
  await answer.arrayBuffer();
  if (answer.status !== 200) throw new Error(`DELETE: ${answer.status}`);
}

const rows: Row[] = [];
function say(row: Row): void {
  rows.push(row);
  console.log(JSON.stringify(row));
}
try {
  await respond(true);
  for (let n = 0; n < 100; n++) await chat();
  for (const row of await besides()) say(row);
  say(await fsyncs(false, 200));
  say(await fsyncs(true, 200));
  const numbers = Array.from({ length: RESPONSES }, (_, n) => n);
  const storedPerS = await inTurn(numbers, () => respond(true));
  say({ part: "stored", responses: ids.length, perS: storedPerS, ...kept() });
  const deletedPerS = await inTurn(ids, drop);
  say({ part: "deleted", responses: ids.length, perS: deletedPerS, ...kept() });
  console.log(writeResult("stored", { RESPONSES, STORES_PER_S, ROUNDS, SECONDS, CHATS_AT_ONCE, CHAT_PAUSE_MS, AT_ONCE }, rows));
} finally {
  endArms();
  endChildren();
}
process.exit(0);
