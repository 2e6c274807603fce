/**
 * What stored responses cost a self-hosted edge: in bare workerd, through /v1/responses, with a replica that answers at once and hands up 20 KB.
 * fsyncs a response by strace, where that is installed; chats beside 50 stores a second; files and bytes after 10,000 were stored and deleted.
 * Writes test/bench/results/stored.json. `npm run bench:stored -- [RESPONSES]`
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { endArms, startEdge } from "./edge/arms.ts";
import { endChildren } from "./edge/child.ts";
import { round } from "./edge/cpu.ts";
import { MODEL } from "./edge/prompts.ts";
import { joinReplicas, sleep, startMock } from "./edge/setup.ts";
import { writeResult } from "./result.ts";

const RESPONSES = Number(process.argv[2] ?? 10_000);
const STORES_PER_S = 50;
const SECONDS = 10;
const CHATS_AT_ONCE = 2;
const CHAT_PAUSE_MS = 20;
const AT_ONCE = 64;

type Row =
  | {
      part: "chats alone" | "chats beside responses that are not stored" | "chats beside stores";
      chats: number;
      p50Ms: number;
      p99Ms: number;
      responsesPerS: number;
    }
  | { part: "fsyncs"; stores: boolean; responses: number; fsyncs: number | null; perResponse: number | null }
  | { part: "stored" | "deleted"; responses: number; perS: number; files: number; megabytes: number };

const edge = await startEdge();
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

async function chats(part: Extract<Row, { chats: number }>["part"], beside: (() => Promise<unknown>) | null): Promise<Row> {
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
  tookMs.sort((left, right) => left - right);
  const at = (share: number): number => round(tookMs[Math.floor((tookMs.length - 1) * share)] ?? 0, 1);
  return { part, chats: tookMs.length, p50Ms: at(0.5), p99Ms: at(0.99), responsesPerS: round((await responses) / SECONDS, 1) };
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
  say(await chats("chats alone", null));
  say(await chats("chats beside responses that are not stored", () => respond(false)));
  say(await chats("chats beside stores", () => respond(true)));
  say(await fsyncs(false, 200));
  say(await fsyncs(true, 200));
  const numbers = Array.from({ length: RESPONSES }, (_, n) => n);
  const storedPerS = await inTurn(numbers, () => respond(true));
  say({ part: "stored", responses: ids.length, perS: storedPerS, ...kept() });
  const deletedPerS = await inTurn(ids, drop);
  say({ part: "deleted", responses: ids.length, perS: deletedPerS, ...kept() });
  console.log(writeResult("stored", { RESPONSES, STORES_PER_S, SECONDS, CHATS_AT_ONCE, CHAT_PAUSE_MS, AT_ONCE }, rows));
} finally {
  endArms();
  endChildren();
}
process.exit(0);
