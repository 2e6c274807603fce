/** What the tests of KV movement ask of a product: one request, its decision record, and quiet afterwards. */
import { expect } from "vitest";
import { type Message, seededRandom, type Target, type Usage, wordsOf } from "../bench/conversations.ts";
import { metric, runningAt, type Started, type StartedReplica, until } from "./started.ts";

export interface Transfer {
  kind: "prefill" | "pull";
  replica: string;
  outcome: "used" | "fallback";
  why?: string;
  bytes: number;
  ms: number;
  tokens: number;
}

interface Outcome {
  cachedTokens: number | null;
  promptTokens: number | null;
  loadedTokens: number | null;
  loadMs: number | null;
  transfer: Transfer | null;
  ended: string | null;
}

interface DecisionBody {
  attempts: { decision: { reason: string; transfer: { kind: string; name: string; tokens: number } | null }; outcome: Outcome }[];
}

export interface Answer {
  status: number;
  id: string;
  replica: string;
  predictedTokens: number;
  text: string;
  usage: Usage;
  error: { code: string | null; param: string | null; message: string } | null;
  ms: number;
}

interface Body {
  choices?: { message: { content: string } }[];
  usage?: Usage;
  error?: Answer["error"];
}

export function promptOf(seed: number, words: number): Message[] {
  return [{ role: "user", content: wordsOf(seededRandom(seed), words) }];
}

/** One whole answer, greedy unless `more` says otherwise. */
export async function chat(
  target: Target,
  messages: readonly Message[],
  more: Record<string, unknown> = {},
  headers: Record<string, string> = {},
): Promise<Answer> {
  const startedMs = performance.now();
  const response = await fetch(`${target.url}/v1/chat/completions`, {
    method: "POST",
    headers: { ...target.headers, ...headers },
    body: JSON.stringify({ model: target.model, messages, max_tokens: 24, temperature: 0, ...more }),
  });
  const body = (await response.json()) as Body;
  const header = (name: string): string => response.headers.get(name) ?? "";
  return {
    status: response.status,
    id: header("x-request-id"),
    replica: header("x-warmpath-replica"),
    predictedTokens: Number(header("x-warmpath-cached-tokens")),
    text: body.choices?.[0]?.message.content ?? "",
    usage: body.usage ?? { prompt_tokens: 0, completion_tokens: 0 },
    error: body.error ?? null,
    ms: performance.now() - startedMs,
  };
}

export const cachedOf = ({ usage }: Answer): number => usage.prompt_tokens_details?.cached_tokens ?? 0;

/** Of the last attempt, once its replica has told how it ended. */
export async function outcomeOf(target: Target, id: string): Promise<Outcome> {
  return until(`the decision about ${id} is complete`, async () => {
    const response = await fetch(`${target.url}/v1/decisions/${id}`, { headers: target.headers });
    const told = (await response.json()) as Partial<DecisionBody>;
    const outcome = told.attempts?.at(-1)?.outcome;
    return outcome !== undefined && outcome.ended !== null ? outcome : null;
  });
}

const idle = async (replica: StartedReplica): Promise<boolean> => (await runningAt(replica).catch(() => -1)) === 0;

/** No lease in the pool, nothing on any of `replicas`. */
export async function expectQuiet(started: Started, replicas: readonly StartedReplica[] = started.replicas): Promise<void> {
  await until("no lease is left", async () => (await metric(started, "warmpath_leases")) === 0, 8_000);
  await until("no replica runs anything", async () => (await Promise.all(replicas.map(idle))).every(Boolean), 8_000);
  expect(await metric(started, "warmpath_router_queue_pending_requests")).toBe(0);
}

/** Starts with these variables in the launcher's environment. */
export async function withEnvironment<T>(variables: Record<string, string>, start: () => Promise<T>): Promise<T> {
  const before = Object.keys(variables).map((name): [string, string | undefined] => [name, process.env[name]]);
  Object.assign(process.env, variables);
  try {
    return await start();
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
}
