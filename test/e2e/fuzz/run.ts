/** Sends the cases, a few at once, and keeps the account. */
import type { Started } from "../started.ts";
import type { Known } from "./bodies-openai.ts";
import { caseOf, type FuzzCase } from "./cases.ts";
import { type Answer, problemOf } from "./verdict.ts";

const AT_ONCE = 8;
/** What takes longer hangs. A damaged limit is no limit: then an answer is written to the end of the context, some 2,000 tokens among seven others, and longer on a busy machine. */
const ANSWER_MS = 100_000;
/** Told in the long run. */
const SLOW_MS = 3_000;
const MOST_SHOWN = 500;
const PROGRESS_EVERY = 1_000;

export interface Failure {
  seed: number;
  index: number;
  endpoint: string;
  kind: string;
  what: string;
  problem: string;
  /** The body and the answer, cut. */
  sent: string;
  got: string;
}

export interface Account {
  endpoint: string;
  requests: number;
  statuses: Record<string, number>;
  kinds: Record<string, number>;
  slowest: { ms: number; index: number };
}

export interface Outcome {
  accounts: Account[];
  failures: Failure[];
  seconds: number;
}

async function send(product: Started, { endpoint, bytes, headers }: FuzzCase): Promise<Answer> {
  const response = await fetch(product.url + endpoint.path, {
    method: "POST",
    headers: { ...product.headers, ...headers },
    body: Uint8Array.from(bytes),
    signal: AbortSignal.timeout(ANSWER_MS),
  });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

function count(counts: Record<string, number>, key: string): void {
  counts[key] = (counts[key] ?? 0) + 1;
}

interface Options {
  seed: number;
  indexes: Iterable<number>;
  total: number;
  known: Known;
}

export async function runCases(product: Started, { seed, indexes, total, known }: Options): Promise<Outcome> {
  const accounts = new Map<string, Account>();
  const failures: Failure[] = [];
  const begunMs = performance.now();
  let done = 0;
  const one = async (index: number): Promise<void> => {
    const fuzzCase = caseOf(seed, index, known);
    const { endpoint, kind, what, bytes } = fuzzCase;
    const account = accounts.get(endpoint.path) ?? {
      endpoint: endpoint.path,
      requests: 0,
      statuses: {},
      kinds: {},
      slowest: { ms: 0, index },
    };
    accounts.set(endpoint.path, account);
    const sentMs = performance.now();
    const answer = await send(product, fuzzCase).catch((error: unknown) => String(error));
    const ms = Math.round(performance.now() - sentMs);
    if (ms > account.slowest.ms) account.slowest = { ms, index };
    if (ms > SLOW_MS) process.stdout.write(`slow: ${ms} ms, ${index}, ${endpoint.path}, ${kind} ${what}\n`);
    account.requests += 1;
    count(account.kinds, kind);
    count(account.statuses, typeof answer === "string" ? "none" : String(answer.status));
    const problem = typeof answer === "string" ? `no answer: ${answer}` : problemOf(fuzzCase, answer);
    if (problem !== null) {
      const got = typeof answer === "string" ? "" : answer.text.slice(0, MOST_SHOWN);
      failures.push({
        seed,
        index,
        endpoint: endpoint.path,
        kind,
        what,
        problem,
        sent: bytes.toString("latin1").slice(0, MOST_SHOWN),
        got,
      });
    }
    done += 1;
    if (done % PROGRESS_EVERY === 0) {
      const seconds = Math.round((performance.now() - begunMs) / 1_000);
      process.stdout.write(`${done} of ${total} in ${seconds} s, ${failures.length} failures\n`);
    }
  };
  const next = indexes[Symbol.iterator]();
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let step = next.next(); step.done !== true; step = next.next()) await one(step.value);
    }),
  );
  failures.sort((a, b) => a.index - b.index);
  return { accounts: [...accounts.values()], failures, seconds: (performance.now() - begunMs) / 1_000 };
}

/** 0 … total - 1. */
export function* upTo(total: number): Generator<number> {
  for (let index = 0; index < total; index++) yield index;
}
