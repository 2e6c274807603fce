/** However an answer's KV came to be, the answer is the same: tokens and logprobs, greedy and seeded, around every block boundary. */
import { describe, expect, it } from "vitest";
import type {
  Engine,
  EngineKey,
  EngineKv,
  EngineRequest,
  EngineRun,
  KvExchange,
  Prefilled,
  PreparedKv,
  Restore,
  TokenLogprob,
} from "../../gpu-backend/engine/engine.ts";
import { plainSampling, tokensOf } from "./engine-runs.ts";

/** Whose blocks can leave it and come back. */
export type KvEngine = Engine & { readonly kv: EngineKv & { readonly exchange: KvExchange } };

/** Two engine processes of one KV space. */
export interface KvRig {
  first: KvEngine;
  second: KvEngine;
}

export interface KvAnswer {
  text: string;
  logprobs: TokenLogprob[];
  reason: string;
  outputTokens: number;
  cachedTokens: number;
}

/** One way to an answer; every request's salt is new to both engines. */
export interface KvWay {
  run: (rig: KvRig, request: EngineRequest) => Promise<KvAnswer>;
  /** Blocks it must not compute on the engine that answers, when nothing else runs. */
  cached: (tokens: number, blockTokens: number) => number;
  /** Needs blocks to stay between its steps. */
  alone?: boolean;
}

const full = process.env["WARMPATH_FULL"] === "1";
export const kvPromptLengths = [2, 3, 31, 32, 33, 63, 64, 65, 66, 255, 257, 1000, ...(full ? [511, 512, 513, 514, 515, 2048, 4000] : [])];
/** How a token is chosen does not depend on the prompt's length: a few where blocks end. */
const SEEDED_LENGTHS: ReadonlySet<number> = new Set([2, 31, 33, 64, 257]);
/** For another shape of model: the first and the second block's end, and prompts shorter and longer than these. */
export const kvShortLengths = full ? kvPromptLengths : [2, 31, 32, 33, 64, 65, 257];
export const kvContextTokens = full ? 4_096 : 1_088;

let serial = 0;
const seeded = { temperature: 0.8, seed: 42 };

export function kvRequest(prompt: string, changes: Partial<EngineRequest> = {}): EngineRequest {
  const id = `kv-${++serial}`;
  const plain = { salt: id, maxTokens: 12, temperature: 0, topP: 1, seed: 1, stop: [], ...plainSampling, logprobs: 3 };
  return { id, prompt, ...plain, ...changes };
}

export const again = (request: EngineRequest): EngineRequest => ({ ...request, id: `kv-${++serial}` });

/** A prompt of exactly so many tokens, different for every `topic`. */
export async function kvPrompt(engine: KvEngine, tokens: number, topic = ""): Promise<string> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const text = Array.from({ length: tokens + 1 }, (_, i) => `${topic}${attempt}x${i} reads`).join(" ");
    let [low, high] = [0, text.length];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((await tokensOf(engine, text.slice(0, middle))) <= tokens) low = middle;
      else high = middle - 1;
    }
    const prompt = text.slice(0, low);
    if ((await tokensOf(engine, prompt)) === tokens) return prompt;
  }
  throw new Error(`no prompt of ${tokens} tokens`);
}

export async function kvFollow(run: EngineRun): Promise<KvAnswer> {
  const answer: KvAnswer = { text: "", logprobs: [], reason: "", outputTokens: 0, cachedTokens: 0 };
  for await (const event of run.events) {
    if (event.type === "delta") {
      answer.text += event.text;
      answer.logprobs.push(...(event.logprobs ?? []));
    }
    if (event.type === "finished") {
      const { reason, outputTokens, cachedTokens } = event;
      Object.assign(answer, { reason, outputTokens, cachedTokens });
    }
  }
  return answer;
}

export async function kvRun(engine: KvEngine, request: EngineRequest, restore?: Restore): Promise<KvAnswer> {
  const run = await (restore === undefined ? engine.run(request) : engine.kv.exchange.import(request, restore));
  if (run.type === "refused") throw new Error(run.message);
  return kvFollow(run);
}

export async function kvPrepare(engine: KvEngine, request: EngineRequest): Promise<PreparedKv> {
  const prepared = await engine.kv.exchange.prepare(request);
  if (prepared.type === "refused") throw new Error(prepared.message);
  return prepared;
}

export async function kvPrefill(engine: KvEngine, request: EngineRequest, wanted: readonly EngineKey[]): Promise<Prefilled> {
  const prefilled = await engine.kv.exchange.prefill(request, new Set(wanted), new AbortController().signal);
  if (prefilled.type !== "prefilled") throw new Error(prefilled.message);
  return prefilled;
}

/** Computes the prompt on the first engine and takes `share` of its blocks out; fewer when others' requests took their place. */
async function exported({ first }: KvRig, request: EngineRequest, share: number): Promise<Restore> {
  const { blockKeys } = await kvPrepare(first, request);
  await kvRun(first, again(request));
  const keys = blockKeys.slice(0, Math.floor(blockKeys.length * share));
  const blocks = await first.kv.exchange.export(keys);
  expect(blocks.map(({ key }) => key)).toEqual(keys.slice(0, blocks.length));
  return { from: 0, blocks, tail: null };
}

const fullBlocks = (tokens: number, blockTokens: number) => Math.floor(tokens / blockTokens);
const reusable = (tokens: number, blockTokens: number) => Math.floor((tokens - 2) / blockTokens);

export const kvWays: Record<string, KvWay> = {
  cold: { run: ({ second }, request) => kvRun(second, request), cached: () => 0 },
  "again on the device": {
    async run({ first }, request) {
      await kvRun(first, again(request));
      return kvRun(first, request);
    },
    cached: reusable,
  },
  "restored from memory": {
    run: async (rig, request) => kvRun(rig.second, request, await exported(rig, request, 1)),
    cached: reusable,
  },
  "half pulled from a peer": {
    run: async (rig, request) => kvRun(rig.second, request, await exported(rig, request, 0.5)),
    cached: (tokens, blockTokens) => Math.floor(fullBlocks(tokens, blockTokens) / 2),
  },
  "prefilled elsewhere": {
    async run({ first, second }, request) {
      const { blockKeys } = await kvPrepare(second, request);
      const { blocks, tail, first: token } = await kvPrefill(first, again(request), blockKeys);
      return kvRun(second, request, { from: 0, blocks, tail: { payload: tail, first: token } });
    },
    cached: fullBlocks,
  },
  "prefilled elsewhere behind what is held": {
    async run({ first, second }, request) {
      const { blockKeys } = await kvPrepare(second, request);
      const half = request.prompt.slice(0, Math.floor(request.prompt.length / 2));
      if (half.length > 0) await kvRun(second, { ...again(request), prompt: half, maxTokens: 1 });
      const { heldBlocks } = await kvPrepare(second, request);
      const { blocks, tail, first: token } = await kvPrefill(first, again(request), blockKeys.slice(heldBlocks));
      expect(heldBlocks + blocks.length).toBe(blockKeys.length);
      return kvRun(second, request, { from: heldBlocks, blocks, tail: { payload: tail, first: token } });
    },
    cached: fullBlocks,
    alone: true,
  },
  "with every block held, the tail from elsewhere": {
    async run({ first, second }, request) {
      await kvRun(second, again(request));
      const { tail, first: token } = await kvPrefill(first, again(request), []);
      const { heldBlocks, blockKeys } = await kvPrepare(second, request);
      expect(heldBlocks).toBe(blockKeys.length);
      return kvRun(second, request, { from: heldBlocks, blocks: [], tail: { payload: tail, first: token } });
    },
    cached: fullBlocks,
    alone: true,
  },
};

const compared = ({ text, logprobs, reason, outputTokens }: KvAnswer) => ({ text, logprobs, reason, outputTokens });

export interface KvExactness {
  ways?: Record<string, KvWay>;
  /** Of prompts, in tokens. */
  lengths?: readonly number[];
}

export function describeKvExactness(
  title: string,
  rig: () => KvRig,
  { ways = kvWays, lengths: promptLengths = kvPromptLengths }: KvExactness = {},
): void {
  describe(`KV exactness, ${title}`, () => {
    const prompts = new Map<number, string>();
    const colds = new Map<string, KvAnswer>();

    async function coldOf(tokens: number, sampling: Partial<EngineRequest>): Promise<{ prompt: string; cold: KvAnswer }> {
      const prompt = prompts.get(tokens) ?? (await kvPrompt(rig().first, tokens));
      prompts.set(tokens, prompt);
      const key = `${tokens} ${JSON.stringify(sampling)}`;
      const cold = colds.get(key) ?? (await kvRun(rig().first, kvRequest(prompt, sampling)));
      colds.set(key, cold);
      expect(cold.cachedTokens).toBe(0);
      return { prompt, cold };
    }

    async function check(way: KvWay, tokens: number, sampling: Partial<EngineRequest>): Promise<KvAnswer> {
      const { prompt, cold } = await coldOf(tokens, sampling);
      const answer = await way.run(rig(), kvRequest(prompt, sampling));
      expect(compared(answer), `${tokens} tokens`).toEqual(compared(cold));
      return answer;
    }

    for (const [name, way] of Object.entries(ways)) {
      for (const [mode, sampling] of Object.entries({ greedy: {}, seeded })) {
        it(`is the same ${name}, ${mode}`, async () => {
          const { blockTokens } = rig().first.card;
          for (const tokens of mode === "greedy" || full ? promptLengths : promptLengths.filter((length) => SEEDED_LENGTHS.has(length))) {
            const { cachedTokens } = await check(way, tokens, sampling);
            expect(cachedTokens, `${tokens} tokens`).toBe(way.cached(tokens, blockTokens) * blockTokens);
          }
        });
      }
    }

    it("is the same when many ways share batches", async () => {
      const lengths = promptLengths.filter((tokens) => tokens >= 31 && tokens <= 257);
      for (const tokens of lengths) await coldOf(tokens, seeded);
      const many = Object.values(ways).filter((way) => way.alone !== true);
      await Promise.all(many.flatMap((way) => lengths.map((tokens) => check(way, tokens, seeded))));
    });
  });
}
