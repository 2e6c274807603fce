/**
 * `node test/bench/predictions.ts [--seconds 150]`: what the pool predicts against what comes, on real engines, from a fresh state on.
 *
 * Three parts, each on a product of its own: conversations (predicted against real time to the first token); a cold start of 12 short chats and 18 longer ones
 * at once; and, after `--seconds` of pings, a long prompt and eight of 260 words at once. Needs a quiet machine.
 */
import { parseArgs } from "node:util";
import { percentile } from "../../src/explain/percentile.ts";
import { type Started, startProduct } from "../e2e/started.ts";
import { type ConversationPlan, makeConversations, play, seededRandom, wordsOf } from "./conversations.ts";
import { writeResult } from "./result.ts";

const { values } = parseArgs({ options: { seconds: { type: "string", default: "150" } } });

const PLAN: ConversationPlan = { seed: 77, groups: 4, conversations: 24, turns: 6, systemBytes: 2_048, userWords: 60 };
const FLEET = { replicas: 2, sequences: 6, contextTokens: 4_096 };
const LOAD = { concurrency: 3, maxTokens: 32 };
/** The first ones are answered by guesses. */
const WARM_UP = 24;

interface HindsightRow {
  predictedMs: number;
  actualMs: number;
}

interface Row {
  part: string;
  asked: number;
  served: number;
  /** Real over predicted time to the first token, of those that have both. */
  known: number;
  p10: number;
  p50: number;
  p90: number;
  /** The largest predicted over real time. */
  mostOver: number;
}

/** Predicted and real times of the last decisions, oldest first. */
async function told({ url, headers }: Started, limit: number): Promise<HindsightRow[]> {
  const answer = await fetch(`${url}/v1/decisions?limit=${limit}`, { headers });
  const { data } = (await answer.json()) as { data: { hindsight: HindsightRow | null }[] };
  return data.flatMap(({ hindsight }) => hindsight ?? []);
}

function rowOf(part: string, asked: number, served: number, all: readonly HindsightRow[]): Row {
  const ratios = Float64Array.from(all, ({ actualMs, predictedMs }) => actualMs / predictedMs).sort();
  const round = (value: number): number => Number(value.toFixed(2));
  const at = (share: number): number => round(percentile(ratios, share));
  return { part, asked, served, known: ratios.length, p10: at(0.1), p50: at(0.5), p90: at(0.9), mostOver: round(1 / (ratios[0] ?? NaN)) };
}

/** Whether it was served. */
async function chat({ url, headers, model }: Started, content: string, maxTokens: number): Promise<boolean> {
  const body = JSON.stringify({ model, max_tokens: maxTokens, messages: [{ role: "user", content }] });
  const answer = await fetch(`${url}/v1/chat/completions`, { method: "POST", headers, body });
  await answer.arrayBuffer();
  return answer.ok;
}

const count = (served: readonly boolean[]): number => served.filter(Boolean).length;

async function conversations(): Promise<Row> {
  const product = await startProduct(FLEET);
  try {
    const target = { url: product.url, headers: product.headers, model: product.model };
    const requests = await play(target, makeConversations(PLAN), LOAD);
    const all = (await told(product, 100)).slice(-(requests.length - WARM_UP));
    return rowOf("conversations", requests.length, requests.filter(({ end }) => end === "done").length, all);
  } finally {
    await product.stop();
  }
}

async function coldStart(): Promise<Row> {
  const product = await startProduct(FLEET);
  const random = seededRandom(5);
  try {
    for (let n = 0; n < 12; n++) await chat(product, wordsOf(random, 2), 1);
    const served = await Promise.all(Array.from({ length: 18 }, () => chat(product, wordsOf(random, 250), 1)));
    return rowOf("cold start: 12 short chats, then 18 of 250 words at once", 18, count(served), (await told(product, 18)).slice(-18));
  } finally {
    await product.stop();
  }
}

async function afterPings(seconds: number): Promise<Row[]> {
  const product = await startProduct(FLEET);
  const random = seededRandom(6);
  try {
    const untilMs = performance.now() + 1_000 * seconds;
    const client = async (): Promise<number> => {
      let sent = 0;
      for (; performance.now() < untilMs; sent++) await chat(product, "ping", 1);
      return sent;
    };
    const sent = (await Promise.all(Array.from({ length: 6 }, client))).reduce((sum, each) => sum + each, 0);
    const first = await chat(product, wordsOf(random, 900), 1);
    const long = rowOf(`after ${sent} pings: one of 900 words`, 1, count([first]), (await told(product, 1)).slice(-1));
    const served = await Promise.all(Array.from({ length: 8 }, () => chat(product, wordsOf(random, 260), 1)));
    return [long, rowOf("then eight of 260 words at once", 8, count(served), (await told(product, 8)).slice(-8))];
  } finally {
    await product.stop();
  }
}

const rows = [await conversations(), await coldStart(), ...(await afterPings(Number(values.seconds)))];
console.table(rows);
process.stderr.write(
  `written to ${writeResult("predictions", { plan: PLAN, fleet: FLEET, load: LOAD, pingSeconds: Number(values.seconds) }, rows)}\n`,
);
