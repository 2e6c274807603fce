/** Time to the first token of one prompt, by where its KV comes from: prepare, load, submit, as KvSupply does it. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TierStack } from "../../../gpu-backend/blocks/tier-stack.ts";
import type { PreparedKv, Restore } from "../../../gpu-backend/engine/engine.ts";
import type { LlamaEngine } from "../../../gpu-backend/engine/llama-cpp/engine.ts";
import { openTiers } from "../../../gpu-backend/open-tiers.ts";
import { pullBlocks, transferAgent } from "../../../gpu-backend/transfer/fetch.ts";
import { storeAt } from "../../conformance/tier-store.ts";
import { ticketFor } from "../../gpu-backend/transfer-rig.ts";
import { seededRandom, wordsOf } from "../conversations.ts";
import { median, round } from "./figures.ts";
import { CONTEXT_TOKENS, firstToken, modelFile, prepare, requestFor, SHAPE, startEngine } from "./rig.ts";
import { tokensOf } from "../../conformance/engine-runs.ts";

const PROMPT_TOKENS = 3_000;
const REPEATS = 5;
const BUDGET_BYTES = 256 * 1024 * 1024;
const SOURCES = ["cold", "device", "host", "disk", "store", "peer"] as const;
type Source = (typeof SOURCES)[number];

export const prefixParameters = {
  promptTokens: PROMPT_TOKENS,
  repeats: REPEATS,
  shape: SHAPE,
  contextTokens: CONTEXT_TOKENS,
  blockTokens: 32,
};

export interface PrefixRow {
  part: "prefix";
  source: Source;
  promptTokens: number;
  /** By the engine's word: restored ones too. */
  cachedTokens: number;
  /** Of the KV that came from outside the engine. */
  kvBytes: number;
  medianTtftMs: number;
  /** Of it, until the KV was in this process. */
  medianLoadMs: number;
  ttftMs: number[];
}

interface Trial {
  ttftMs: number;
  loadMs: number;
  promptTokens: number;
  cachedTokens: number;
  kvBytes: number;
}

type Load = (prepared: PreparedKv) => Promise<Restore | undefined>;

async function trial(engine: LlamaEngine, prompt: string, load: Load): Promise<Trial> {
  const startedMs = performance.now();
  const request = requestFor(prompt);
  const prepared = await prepare(engine, request);
  const restore = await load(prepared);
  const loadedMs = performance.now();
  const { atMs, cachedTokens } = await firstToken(engine, request, restore);
  const promptTokens = prepared.tokens.length;
  const kvBytes = restore?.blocks.reduce((sum, { data }) => sum + data.byteLength, 0) ?? 0;
  return { ttftMs: atMs - startedMs, loadMs: restore === undefined ? 0 : loadedMs - startedMs, promptTokens, cachedTokens, kvBytes };
}

async function said(child: ChildProcess): Promise<string> {
  const ended = once(child, "exit").then(() => {
    throw new Error("A helper process ended early.");
  });
  const [text] = (await Promise.race([once(child, "message"), ended])) as [string];
  return text;
}

const helper = (name: string): ChildProcess =>
  fork(join(import.meta.dirname, `${name}.ts`), [], { execArgv: ["--disable-warning=ExperimentalWarning"] });

async function promptOf(engine: LlamaEngine): Promise<string> {
  const random = seededRandom(7);
  let text = wordsOf(random, 600);
  while ((await tokensOf(engine, text)) < PROMPT_TOKENS) text += ` ${wordsOf(random, 2)}`;
  return text;
}

async function stackOf(engine: LlamaEngine, tier: "host" | "disk" | "store", directory: string, endpoint: string): Promise<TierStack> {
  const opened = await openTiers(
    {
      hostBytes: tier === "host" ? BUDGET_BYTES : 0,
      disk: tier === "disk" ? { directory, budgetBytes: BUDGET_BYTES } : null,
      store: tier === "store" ? { ...storeAt(endpoint), prefix: "bench", budgetBytes: BUDGET_BYTES } : null,
    },
    engine.kv.exchange.card,
    () => undefined,
  );
  if (opened === null) throw new Error(`The ${tier} tier can't be used.`);
  return opened.stack;
}

/** What the prompt's run left on the device, into each stack. */
async function fill(engine: LlamaEngine, { blockKeys, reusableBlocks }: PreparedKv, stacks: readonly TierStack[]): Promise<void> {
  const blocks = await engine.kv.exchange.export(blockKeys.slice(0, reusableBlocks));
  const parents = new Map(blockKeys.map((key, index) => [key, blockKeys[index - 1] ?? null]));
  const offered = blocks.map((block) => ({ ...block, parent: parents.get(block.key) ?? null }));
  for (const stack of stacks) {
    stack.offer(offered);
    await stack.idle();
    if (stack.counters.dropped > 0 || blocks.length < reusableBlocks) throw new Error("The tiers did not take the whole prompt.");
  }
}

function fromTier(stack: TierStack): Load {
  return async ({ tokens, blockKeys, heldBlocks, reusableBlocks }) => {
    if (heldBlocks > 0) throw new Error("The device still holds blocks of the prompt.");
    const wanted = blockKeys.slice(0, reusableBlocks).map((key, at) => ({ key, tokens: tokens.subarray(at * 32, (at + 1) * 32) }));
    const blocks = await stack.load(wanted, new AbortController().signal);
    if (blocks.length < reusableBlocks) throw new Error("The tier did not give the whole prompt.");
    return { from: 0, blocks, tail: null };
  };
}

function fromPeer(engine: LlamaEngine, url: string, dispatcher: ReturnType<typeof transferAgent>): Load {
  return async (prepared) => {
    if (prepared.heldBlocks > 0) throw new Error("The device still holds blocks of the prompt.");
    const ticket = ticketFor({ kind: "pull", salt: "", from: url, expiresAtMs: Date.now() + 60_000 });
    const link = {
      url,
      ticket,
      card: engine.kv.exchange.card,
      prepared,
      signal: new AbortController().signal,
      dispatcher,
      expected: { msPerToken: 1, measured: true },
    };
    const fetched = await pullBlocks({ ...link, from: 0, to: prepared.reusableBlocks });
    if (!fetched.ok || fetched.shortfall !== null) throw new Error(`The pull failed: ${fetched.ok ? fetched.shortfall : fetched.why}.`);
    return fetched.restore;
  };
}

function rowOf(source: Source, trials: readonly Trial[]): PrefixRow {
  const last = trials.at(-1);
  return {
    part: "prefix",
    source,
    promptTokens: last?.promptTokens ?? 0,
    cachedTokens: last?.cachedTokens ?? 0,
    kvBytes: last?.kvBytes ?? 0,
    medianTtftMs: round(median(trials.map(({ ttftMs }) => ttftMs))),
    medianLoadMs: round(median(trials.map(({ loadMs }) => loadMs))),
    ttftMs: trials.map(({ ttftMs }) => round(ttftMs)),
  };
}

/** The sources take turns, so that a machine that grows busier favours none. */
async function repeat(engine: LlamaEngine, prompt: string, loads: Record<Source, Load>): Promise<PrefixRow[]> {
  const trials = new Map<Source, Trial[]>(SOURCES.map((source) => [source, []]));
  for (let i = 1; i <= REPEATS; i++) {
    for (const source of SOURCES) {
      if (source !== "device") await firstToken(engine, requestFor("Something else."));
      const done = await trial(engine, prompt, loads[source]);
      trials.get(source)?.push(done);
      console.log(`prefix ${i}/${REPEATS} ${source}: ${done.ttftMs.toFixed(1)} ms, ${done.cachedTokens} cached`);
    }
  }
  return SOURCES.map((source) => rowOf(source, trials.get(source) ?? []));
}

export async function measurePrefix(): Promise<PrefixRow[]> {
  const directory = await mkdtemp(join(tmpdir(), "warmpath-bench-"));
  const engine = await startEngine(await modelFile());
  const dispatcher = transferAgent();
  const [peer, store] = [helper("peer"), helper("store")];
  try {
    const endpoint = await said(store);
    const prompt = await promptOf(engine);
    peer.send(prompt);
    const url = await said(peer);
    const tiers = ["host", "disk", "store"] as const;
    const [host, disk, bucket] = await Promise.all(tiers.map((tier) => stackOf(engine, tier, directory, endpoint)));
    if (host === undefined || disk === undefined || bucket === undefined) throw new Error("A tier is missing.");
    await firstToken(engine, requestFor(prompt));
    await fill(engine, await prepare(engine, requestFor(prompt)), [host, disk, bucket]);
    const nothing: Load = () => Promise.resolve(undefined);
    const [fromHost, fromDisk, fromStore] = [fromTier(host), fromTier(disk), fromTier(bucket)];
    const loads = {
      cold: nothing,
      device: nothing,
      host: fromHost,
      disk: fromDisk,
      store: fromStore,
      peer: fromPeer(engine, url, dispatcher),
    };
    const rows = await repeat(engine, prompt, loads);
    await Promise.all([host, disk, bucket].map((stack) => stack.close()));
    return rows;
  } finally {
    for (const child of [peer, store]) if (child.connected) child.disconnect();
    await dispatcher.close();
    await engine.close();
    await rm(directory, { recursive: true, force: true });
  }
}
