/**
 * What long prompts do to those who are decoding: two replicas that do both against one that prefills and one that decodes, each on
 * cores of its own. No edge in front: the bench speaks for the pool, so that only prefill and decode differ.
 *   node test/bench/pd.ts [--cores A:B] [--prompts N]     (A and B as taskset writes them; default 0:1)
 */
import { parseArgs } from "node:util";
import { join } from "node:path";
import { type DemoShape, ensureDemoModel } from "../../gpu-backend/engine/llama-cpp/demo-model/demo-model.ts";
import { seededRandom, wordsOf } from "./conversations.ts";
import { chat, type PinnedReplica, type Streamed, startPinned } from "./pd/fleet.ts";
import { writeResult } from "./result.ts";

const SHAPE: DemoShape = { layers: 8, width: 512, heads: 8, kvHeads: 4, feedForward: 1_536, vocabulary: 4_096, contextTokens: 32_768 };
const CONTEXT_TOKENS = 4_096;
const PROMPT_TOKENS = 3_000;
/** Of wordsOf under this vocabulary. */
const WORDS_PER_TOKEN = 0.446;
const DECODES = 4;
const QUIET_MS = 20_000;
/** Short, so that the contexts that are decoded are as long before the prompts come as while they come. */
const DECODED_TOKENS = 256;
/** The prefill side is busy for this share of the time. */
const UTILISATION = 0.6;

const { values } = parseArgs({ options: { cores: { type: "string", default: "0:1" }, prompts: { type: "string", default: "8" } } });
const [coresA = "0", coresB = "1"] = values.cores.split(":");
const prompts = Number(values.prompts);
const random = seededRandom(5);

const percentile = (list: readonly number[], share: number): number =>
  list.toSorted((a, b) => a - b)[Math.floor(share * (list.length - 1))] ?? Number.NaN;
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

interface Row {
  topology: string;
  quiet: { p50Ms: number; p99Ms: number };
  disturbed: { p50Ms: number; p99Ms: number; maxMs: number };
  /** p99 disturbed / p99 quiet. */
  ratio: number;
  promptTtftMs: { mean: number; max: number };
  tokens: number;
}

/** A prompt of about the wanted length: nobody's prefix. */
const longPrompt = (): string => wordsOf(random, Math.round(PROMPT_TOKENS * WORDS_PER_TOKEN));

async function measure(topology: string, decoders: PinnedReplica[], prefill: PinnedReplica | null, everyMs: number): Promise<Row> {
  const stop = new AbortController();
  // A decode that reached the end of its answer begins again, until the bench is over.
  const decode = async (replica: PinnedReplica): Promise<Streamed["gaps"]> => {
    const gaps: Streamed["gaps"] = [];
    while (!stop.signal.aborted)
      gaps.push(...(await chat(replica, `Tell me everything. ${wordsOf(random, 6)}`, DECODED_TOKENS, null, stop.signal)).gaps);
    return gaps;
  };
  const running = Array.from({ length: DECODES }, (_, index) => decode(decoders[index % decoders.length] as PinnedReplica));
  await sleep(2_000);
  const quietFromMs = performance.now();
  await sleep(QUIET_MS);
  const disturbedFromMs = performance.now();
  const ttfts: Promise<number>[] = [];
  for (let i = 0; i < prompts; i++) {
    const replica = decoders[i % decoders.length] as PinnedReplica;
    ttfts.push(chat(replica, longPrompt(), 8, prefill).then(({ ttftMs }) => ttftMs));
    await sleep(everyMs);
  }
  const promptTtfts = await Promise.all(ttfts);
  const untilMs = performance.now();
  stop.abort();
  const gaps = (await Promise.all(running)).flat();
  const within = (from: number, to: number) => gaps.filter(({ atMs }) => atMs >= from && atMs < to).map(({ ms }) => ms);
  const quiet = within(quietFromMs, disturbedFromMs);
  const disturbed = within(disturbedFromMs, untilMs);
  const round = (ms: number): number => Math.round(ms * 100) / 100;
  return {
    topology,
    quiet: { p50Ms: round(percentile(quiet, 0.5)), p99Ms: round(percentile(quiet, 0.99)) },
    disturbed: {
      p50Ms: round(percentile(disturbed, 0.5)),
      p99Ms: round(percentile(disturbed, 0.99)),
      maxMs: round(Math.max(...disturbed)),
    },
    ratio: round(percentile(disturbed, 0.99) / percentile(quiet, 0.99)),
    promptTtftMs: { mean: round(promptTtfts.reduce((sum, ms) => sum + ms, 0) / promptTtfts.length), max: round(Math.max(...promptTtfts)) },
    tokens: disturbed.length,
  };
}

const modelPath = await ensureDemoModel(
  process.env.WARMPATH_BENCH_CACHE ?? join(import.meta.dirname, "../../node_modules/.cache/warmpath-bench"),
  { shape: SHAPE },
);
const order = { modelPath, sequences: DECODES + 2, contextTokens: CONTEXT_TOKENS };
const a = await startPinned(coresA, { ...order, name: "a" });
const b = await startPinned(coresB, { ...order, name: "b" });
const { ttftMs: coldMs } = await chat(a, longPrompt(), 1, null);
const everyMs = coldMs / UTILISATION;
process.stdout.write(
  `a prompt of about ${PROMPT_TOKENS} tokens takes ${(coldMs / 1000).toFixed(1)} s, one comes every ${(everyMs / 1000).toFixed(1)} s\n`,
);
const rows: Row[] = [];
for (const pass of [1, 2]) {
  rows.push(await measure(`disaggregated, pass ${pass}`, [b], a, everyMs));
  process.stdout.write(`${JSON.stringify(rows.at(-1))}\n`);
  rows.push(await measure(`aggregated, pass ${pass}`, [a, b], null, everyMs));
  process.stdout.write(`${JSON.stringify(rows.at(-1))}\n`);
}
const parameters = {
  cores: values.cores,
  shape: SHAPE,
  promptTokens: PROMPT_TOKENS,
  decodes: DECODES,
  prompts,
  coldMs: Math.round(coldMs),
  everyMs: Math.round(everyMs),
};
process.stdout.write(`written to ${writeResult("pd", parameters, rows)}\n`);
for (const replica of [a, b]) replica.child.disconnect();
process.exit(0);
