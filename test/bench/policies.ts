/** `node test/bench/policies.ts`: the same conversations on real engines under each profile, in turn, four times. Needs a quiet machine. */
import { startProduct } from "../e2e/started.ts";
import { type ConversationPlan, makeConversations, type Measured, play } from "./conversations.ts";
import { writeResult } from "./result.ts";

const PROFILES = ["cache-aware", "round-robin", "least-loaded"] as const;
const PASSES = 4;
const PLAN: ConversationPlan = { seed: 42, groups: 4, conversations: 16, turns: 5, systemBytes: 2_048, userWords: 60 };
const FLEET = { replicas: 3, sequences: 6, contextTokens: 4_096 };
const LOAD = { concurrency: 4, maxTokens: 48 };

interface Row {
  profile: (typeof PROFILES)[number];
  /** A number, or "all" of the profile's requests. */
  pass: number | "all";
  requests: number;
  failed: number;
  meanTtftMs: number;
  p50TtftMs: number;
  p99TtftMs: number;
  meanTpotMs: number;
  /** Of the prompt tokens, by the engines' word. */
  cachedShare: number;
  requestsPerSecond: number;
  outputTokensPerSecond: number;
}

interface Pass {
  requests: Measured[];
  wallMs: number;
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
const mean = (values: readonly number[]): number => sum(values) / Math.max(1, values.length);
const round = (value: number, digits = 1): number => Number(value.toFixed(digits));

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

function rowOf(profile: Row["profile"], pass: Row["pass"], passes: readonly Pass[]): Row {
  const all = passes.flatMap(({ requests }) => requests);
  const good = all.filter(({ end }) => end === "done");
  const seconds = sum(passes.map(({ wallMs }) => wallMs)) / 1_000;
  const ttfts = good.map(({ ttftMs }) => ttftMs);
  return {
    profile,
    pass,
    requests: all.length,
    failed: all.length - good.length,
    meanTtftMs: round(mean(ttfts)),
    p50TtftMs: round(percentile(ttfts, 0.5)),
    p99TtftMs: round(percentile(ttfts, 0.99)),
    meanTpotMs: round(mean(good.flatMap(({ tpotMs }) => tpotMs ?? [])), 2),
    cachedShare: round(sum(good.map(({ cachedTokens }) => cachedTokens)) / sum(good.map(({ promptTokens }) => promptTokens)), 3),
    requestsPerSecond: round(good.length / seconds, 2),
    outputTokensPerSecond: round(sum(good.map(({ outputTokens }) => outputTokens)) / seconds),
  };
}

async function run(profile: Row["profile"]): Promise<Pass> {
  const product = await startProduct({ ...FLEET, profile });
  try {
    // The first request of an edge pays for what is loaded then; on each replica one, of another text than the conversations.
    const warming = makeConversations({ ...PLAN, seed: PLAN.seed + 1, groups: 6, conversations: 6, turns: 1, systemBytes: 64 });
    await play(product, warming, { concurrency: 3, maxTokens: 8 });
    const startedMs = performance.now();
    const requests = await play(product, makeConversations(PLAN), LOAD);
    return { requests, wallMs: performance.now() - startedMs };
  } finally {
    await product.stop();
  }
}

const runs = new Map<Row["profile"], Pass[]>(PROFILES.map((profile) => [profile, []]));
const rows: Row[] = [];
for (let pass = 1; pass <= PASSES; pass++) {
  // The second pass in the opposite order, so that a machine that grows busier favours none.
  for (const profile of pass % 2 === 1 ? PROFILES : PROFILES.toReversed()) {
    const done = await run(profile);
    runs.get(profile)?.push(done);
    rows.push(rowOf(profile, pass, [done]));
  }
}
for (const [profile, passes] of runs) rows.push(rowOf(profile, "all", passes));
const file = writeResult("policies", { plan: PLAN, fleet: FLEET, load: LOAD, passes: PASSES, model: "warmpath-demo" }, rows);
console.table(rows.filter(({ pass }) => pass === "all"));
console.log(file);
