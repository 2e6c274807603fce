/**
 * What a replica announces of a real vLLM is what that one finds: 500 chats of several turns with shared beginnings, two salts, evictions
 * and a cache that is emptied in between. Of each, the leading segments that were held before it are compared with `cached_tokens`.
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import xxhash from "xxhash-wasm";
import type { Engine } from "../../gpu-backend/engine/engine.ts";
import { residencyOf } from "../../gpu-backend/engine/residency-state.ts";
import { HeldSegments } from "../../gpu-backend/held-segments.ts";
import { Prompts } from "../../gpu-backend/prompts.ts";
import { chainOf, chainRoot } from "../../src/prefix/chain.ts";
import type { ChatMessage } from "../../src/prefix/prompt.ts";
import { PromptEncoder } from "../../src/prefix/prompt-encoder.ts";
import { TIER } from "../../src/residency/tiers.ts";
import { parseChatRequest } from "../../src/wire/openai.ts";
import { accepted, request, seen } from "../conformance/engine-runs.ts";
import { seeded } from "../e2e/mutations.ts";
import { openVllm, until } from "./opened.ts";

const REQUESTS = Number(process.env["WARMPATH_VLLM_REQUESTS"] ?? 500);
/** The stand-in asks its own engine how tokens are spelt, which evicts others, and does not announce what it wrote: 0.95 of it. */
const WITHIN = Number(process.env["WARMPATH_VLLM_WITHIN"] ?? 0.99);
const QUIET_MS = 50;

const xxh = await xxhash();
const hash64 = (bytes: Uint8Array, seed: bigint): bigint => xxh.h64Raw(bytes, seed);

let engine: Engine;
beforeAll(async () => {
  engine = await openVllm(inject("vllm"), { WARMPATH_SEQUENCES: "8" });
});
afterAll(() => engine.close());

interface Compared {
  promptTokens: number;
  cachedTokens: number;
  /** Tokens of the leading segments that were held, and of those that the engine's figure makes. */
  heldTokens: number;
  foundTokens: number;
  salt: string;
}

const WORDS =
  "when the river had risen over its banks and nobody could say where the road went on we waited for the light of the next day".split(" ");
const random = seeded(20_261_201);
const prose = (words: number): string => Array.from({ length: words }, () => WORDS[random(WORDS.length)]).join(" ");

class Follower {
  readonly #prompts: Prompts;
  readonly #announced = new Map<bigint, number>();
  readonly #held = new HeldSegments(({ hash, tierBits }) =>
    tierBits === 0 ? this.#announced.delete(hash) : this.#announced.set(hash, tierBits),
  );

  constructor() {
    const prompts = Prompts.of(engine.card);
    if (!(prompts instanceof Prompts)) throw new Error(prompts.message);
    this.#prompts = prompts;
    engine.kv?.onResidency((changes) => {
      for (const { key, held, tier = TIER.device } of changes) this.#held.blockChanged(key, tier, held ? tier : 0);
    });
  }

  async ask(messages: ChatMessage[], salt: string): Promise<Compared & { text: string }> {
    const parsed = parseChatRequest({ model: engine.card.model, messages, max_tokens: 8, temperature: 0 });
    if (!parsed.ok) throw new Error(parsed.error.message);
    const { hashSpec } = this.#prompts;
    const bytes = new PromptEncoder(hash64).encode(parsed.request.prompt, hashSpec.order);
    const chain = chainOf(
      hash64,
      chainRoot(hash64, { spec: hashSpec, model: engine.card.model, adapter: null, salt }),
      bytes,
      hashSpec.schedule,
    );
    const opened = this.#prompts.open(parsed.request, salt, chain.hashes.at(-1)?.toString(16) ?? "");
    if (!opened.ok) throw new Error(opened.error.message);
    const gap = chain.hashes.findIndex((hash) => !this.#announced.has(hash));
    const held = gap === -1 ? chain.hashes.length : gap;
    const run = await seen(await accepted(engine, request(opened.text, { cuts: opened.cuts, salt, maxTokens: 8 })));
    const { blocks } = run.queued;
    const ends = (await blocks?.tokenEnds) ?? null;
    const anchors = opened.anchors(ends, blocks?.blockKeys ?? []);
    const endInterest = this.#held.anchor(anchors);
    const { promptTokens, cachedTokens } = run.finished;
    const { blockTokens } = engine.card;
    // A segment is found where the whole block is that holds its last token.
    const found = anchors.filter(({ tokens }) => Math.ceil(tokens / blockTokens) * blockTokens <= cachedTokens);
    await this.#caughtUp();
    endInterest();
    const heldTokens = anchors[held - 1]?.tokens ?? 0;
    return { promptTokens, cachedTokens, heldTokens, foundTokens: found.at(-1)?.tokens ?? 0, salt, text: run.text };
  }

  /** The events of a request come a moment after its answer: when there were none for a while, all have come. */
  async #caughtUp(): Promise<void> {
    let [batches, sinceMs] = [-1, performance.now()];
    await until(() => {
      const now = engine.kvEvents?.().batches ?? 0;
      if (now !== batches) [batches, sinceMs] = [now, performance.now()];
      return performance.now() - sinceMs > QUIET_MS;
    }, "its events do not end");
  }
}

test(`of ${REQUESTS} requests the segments that are announced are those that the engine found`, async () => {
  const follower = new Follower();
  const systems = Array.from({ length: 4 }, () => prose(180));
  const sessions = Array.from({ length: 12 }, (_, index) => ({
    salt: index % 2 === 0 ? "one" : "two",
    system: systems[index % 4] ?? "",
    turns: [] as ChatMessage[],
  }));
  const compared: Compared[] = [];
  for (let turn = 0; turn < REQUESTS; turn++) {
    if (turn === Math.floor(REQUESTS / 2)) await fetch(`http://127.0.0.1:${inject("vllm").port}/reset_prefix_cache`, { method: "POST" });
    const session = sessions[random(sessions.length)];
    if (session === undefined) break;
    if (session.turns.length > 8) session.turns = [];
    session.turns.push({ role: "user", content: prose(20 + random(120)) });
    const { text, ...found } = await follower.ask([{ role: "system", content: session.system }, ...session.turns], session.salt);
    session.turns.push({ role: "assistant", content: text });
    // An emptied cache is announced with the next request: the first one after it can't be known.
    if (turn !== Math.floor(REQUESTS / 2)) compared.push(found);
  }
  const { blockTokens, release } = engine.card;
  const wrong = compared.filter(({ heldTokens, foundTokens }) => Math.abs(heldTokens - foundTokens) > blockTokens);
  const hits = compared.filter(({ cachedTokens }) => cachedTokens > 0).length;
  const result = {
    release,
    requests: compared.length,
    hits,
    wrong: wrong.length,
    residency: residencyOf(engine),
    counts: engine.kvEvents?.(),
  };
  console.log(JSON.stringify({ ...result, examples: wrong.slice(0, 5) }));
  const folder = process.env["WARMPATH_RESULTS"];
  if (folder !== undefined) {
    const commit = process.env["WARMPATH_COMMIT"] ?? execFileSync("git", ["rev-parse", "HEAD"]).toString().trim();
    writeFileSync(join(folder, "vllm-truth.json"), JSON.stringify({ commit, ...result, examples: wrong.slice(0, 20) }, null, 1));
  }
  expect(hits).toBeGreaterThan(compared.length / 4);
  expect(wrong.length / compared.length).toBeLessThanOrEqual(1 - WITHIN);
});
