/** The soak's last requests go to real engines, in the pool that the mock replicas have left: what they reported must harm nobody. */
import { setTimeout as sleep } from "node:timers/promises";
import { join } from "node:path";
import { tmpdir } from "node:os";
import { mkdtemp, rm } from "node:fs/promises";
import { type ReplicaProcess, startReplica } from "../../../cli/replica-process.ts";
import { ensureDemoModel } from "../../../gpu-backend/engine/llama-cpp/demo-model/demo-model.ts";
import { until } from "../../e2e/started.ts";
import { seededRandom, streamChat, type Target, wordsOf } from "../conversations.ts";
import { POOL, type SoakEdge } from "./edge-process.ts";
import { MOCK_MODEL } from "./truth.ts";
import { type OffSummary, type Predicted, groupsOf, predictedOf, recordsOf, summaryOf } from "./predictions.ts";

const REPLICAS = 2;
const CALLERS = 6;
const READY_MS = 90_000;
const SAMPLE_EVERY = 100;
/** More than come between two samples and while the newest are left to end. */
const SAMPLE_RECORDS = 400;
const SAMPLED_AFTER_MS = 2_000;
const FRONTS = 8;
const FRONT_WORDS = 150;

export interface Real {
  requests: number;
  seconds: number;
  done: number;
  refused: number;
  failed: number;
  messages: Record<string, number>;
  predictions: OffSummary;
  groups: Record<string, OffSummary>;
}

/** None could be sent: what the mock replicas told is not lost for it. */
export function nothingReal(requests: number, why: string): Real {
  return {
    requests,
    seconds: 0,
    done: 0,
    refused: 0,
    failed: requests,
    messages: { [why]: requests },
    predictions: summaryOf([]),
    groups: {},
  };
}

async function startReplicas(edge: SoakEdge, folder: string): Promise<ReplicaProcess[]> {
  const model = await ensureDemoModel(folder);
  return Array.from({ length: REPLICAS }, (_, index) =>
    startReplica(
      `real-${index}`,
      {
        WARMPATH_JOIN: `ws://127.0.0.1:${edge.port}/announce/${POOL}`,
        WARMPATH_JOIN_TOKEN: edge.secrets.joinToken(POOL),
        WARMPATH_REPLICA: `real-${index}`,
        WARMPATH_MODEL: model,
        WARMPATH_MACHINE: "here",
        WARMPATH_CONTEXT_TOKENS: "2048",
      },
      {
        started: () => undefined,
        joined: () => undefined,
        ended: () => undefined,
        failed: (name, message) => process.stderr.write(`${name}: ${message}\n`),
      },
    ),
  );
}

/** The model's name, once the pool serves it with all of them and the edge knows its name. */
async function served(edge: SoakEdge): Promise<string> {
  const model = await until(
    "the real replicas have joined",
    async () => {
      const { pools } = await read<{ pools: { model: string | null; replicas: number }[] }>(edge, "/healthz");
      return pools.find(({ model, replicas }) => replicas === REPLICAS && model !== null && model !== MOCK_MODEL)?.model;
    },
    READY_MS,
  );
  const isListed = async (): Promise<boolean> =>
    (await read<{ data: { id: string }[] }>(edge, "/v1/models")).data.some(({ id }) => id === model);
  await until("their model is listed", isListed, READY_MS);
  return model;
}

async function read<Body>({ url, headers }: SoakEdge, path: string): Promise<Body> {
  return (await (await fetch(url + path, { headers })).json()) as Body;
}

/** A third short chats, the rest with one of a few fronts. */
function contentOf(random: () => number, fronts: readonly string[]): string {
  if (random() < 1 / 3) return wordsOf(random, 8);
  return `${fronts[Math.floor(random() * fronts.length)] ?? ""} ${wordsOf(random, 10 + Math.floor(random() * 60))}`;
}

export async function realRequests(edge: SoakEdge, requests: number): Promise<Real> {
  const folder = await mkdtemp(join(tmpdir(), "warmpath-soak-model-"));
  const replicas = await startReplicas(edge, folder);
  try {
    return await play(edge, await served(edge), requests);
  } finally {
    for (const replica of replicas) replica.cut();
    await until("the real replicas have gone", () => replicas.every((replica) => !isAlive(replica.pid())), 20_000);
    await rm(folder, { recursive: true, force: true });
  }
}

function isAlive(pid: number | undefined): boolean {
  try {
    return pid !== undefined && process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function play(edge: SoakEdge, model: string, requests: number): Promise<Real> {
  const target: Target = { url: edge.url, model, headers: edge.headers };
  const random = seededRandom(5);
  const fronts = Array.from({ length: FRONTS }, () => wordsOf(random, FRONT_WORDS));
  const counts = { done: 0, refused: 0, failed: 0 };
  const messages: Record<string, number> = {};
  const predicted: Predicted[] = [];
  const startedMs = performance.now();
  let lookedAtMs = Date.now();
  let sent = 0;
  const sample = async (): Promise<void> => {
    const untilMs = Date.now() - SAMPLED_AFTER_MS;
    const records = await recordsOf(edge, SAMPLE_RECORDS);
    const fresh = records.filter(({ record }) => record.decidedAtMs > lookedAtMs && record.decidedAtMs <= untilMs);
    lookedAtMs = Math.max(lookedAtMs, untilMs);
    predicted.push(...predictedOf(fresh, Date.now(), 0));
  };
  const caller = async (): Promise<void> => {
    while (sent < requests) {
      sent++;
      const due = sent % SAMPLE_EVERY === 0;
      const content = contentOf(random, fronts);
      const { end, code, message } = await streamChat(target, [{ role: "user", content }], { maxTokens: 1 + Math.floor(random() * 16) });
      if (end === "done") counts.done++;
      else {
        counts[end === "refused" && code === "overloaded" ? "refused" : "failed"]++;
        const said = `${end} ${code ?? ""}: ${message}`.replaceAll(/\d+/g, "N");
        messages[said] = (messages[said] ?? 0) + 1;
      }
      if (due) await sample();
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  const seconds = Math.round((performance.now() - startedMs) / 1_000);
  await sleep(SAMPLED_AFTER_MS + 500);
  await sample();
  return { requests, seconds, ...counts, messages, predictions: summaryOf(predicted), groups: groupsOf(predicted) };
}
