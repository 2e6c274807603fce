/** An engine in memory whose every KV byte counts: one wrong byte of a restored block changes all tokens of the answer. */
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type {
  EngineKey,
  EngineRequest,
  KeyedBlock,
  KvCard,
  Prefilled,
  PrefillOptions,
  PreparedKv,
  Restore,
} from "../../gpu-backend/engine/engine.ts";
import type { SenderExchange } from "../../gpu-backend/transfer/send.ts";
import { plainSampling } from "../conformance/engine-runs.ts";

const BLOCK = 16;
const STATE = 32;

const sha = (...parts: (Uint8Array | string)[]): Buffer => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
};

export class FakeEngine implements SenderExchange {
  readonly card: KvCard;
  readonly contextTokens = 100_000;
  readonly release: string;
  /** The device tier. */
  readonly held = new Map<EngineKey, KeyedBlock>();
  prefills = 0;
  running = 0;
  delayMs = 0;
  /** Of the delay; after each it says how far it is. */
  steps = 1;
  /** Called before a prefill gives its blocks. */
  beforeGiving: () => void = () => undefined;

  constructor(release = "fake 1", tokenBytes = 64) {
    this.release = release;
    this.card = { kvSpace: sha(release).toString("hex"), blockTokens: BLOCK, kvTokenBytes: tokenBytes, kvNumbers: [] };
  }

  blockKeys(tokens: Uint32Array, salt: string): Promise<EngineKey[]> {
    return Promise.resolve(this.#keys(tokens, salt));
  }

  #keys(tokens: Uint32Array, salt: string): EngineKey[] {
    const blockKeys: EngineKey[] = [];
    let key = sha(this.card.kvSpace, salt);
    for (let end = BLOCK; end <= tokens.length; end += BLOCK) {
      key = sha(key, new Uint8Array(tokens.slice(end - BLOCK, end).buffer));
      blockKeys.push(key.toString("hex") as EngineKey);
    }
    return blockKeys;
  }

  /** One token a character. */
  prepareNow(request: Pick<EngineRequest, "prompt" | "salt">): PreparedKv {
    const tokens = Uint32Array.from(request.prompt, (c) => c.charCodeAt(0));
    const blockKeys = this.#keys(tokens, request.salt);
    const gap = blockKeys.findIndex((each) => !this.held.has(each));
    const heldBlocks = gap < 0 ? blockKeys.length : gap;
    return { type: "prepared", tokens, blockKeys, heldBlocks, reusableBlocks: Math.floor(Math.max(0, tokens.length - 2) / BLOCK) };
  }

  prepare(request: EngineRequest): Promise<PreparedKv> {
    return Promise.resolve(this.prepareNow(request));
  }

  /** KV of a token: a function of the KV before it and the token, spread over its bytes. */
  #kv(tokens: Uint32Array, before: Uint8Array): Uint8Array {
    const size = this.card.kvTokenBytes;
    const data = new Uint8Array(tokens.length * size);
    let state = before;
    for (const [i, token] of tokens.entries()) {
      state = sha(state, String(token));
      for (let at = 0; at < size; at += STATE) data.set(state, i * size + at);
    }
    return data;
  }

  #stateAfter(data: Uint8Array): Uint8Array {
    return data.subarray(data.length - this.card.kvTokenBytes, data.length - this.card.kvTokenBytes + STATE);
  }

  #compute(tokens: Uint32Array, restore: Restore | null): Uint8Array {
    const size = this.card.kvTokenBytes;
    const parts: Uint8Array[] = [];
    let state: Uint8Array = sha("start");
    const extend = (data: Uint8Array): void => {
      if (data.length === 0) return;
      parts.push(data);
      state = this.#stateAfter(data);
    };
    if (restore !== null) {
      extend(this.#kv(tokens.subarray(0, restore.from * BLOCK), state));
      for (const { data } of restore.blocks) extend(data);
      if (restore.tail !== null) extend(restore.tail.payload.data);
    }
    const done = parts.reduce((sum, part) => sum + part.length, 0) / size;
    extend(this.#kv(tokens.subarray(done), state));
    return Buffer.concat(parts);
  }

  /** The answer's tokens; greedy. */
  answer(request: Pick<EngineRequest, "prompt" | "salt">, restore: Restore | null = null): number[] {
    let kv = this.#compute(this.prepareNow(request).tokens, restore);
    const answer: number[] = [];
    while (answer.length < 4) {
      const token = answer.length === 0 && restore?.tail ? restore.tail.first.token : sha(kv).readUInt32LE();
      answer.push(token);
      kv = Buffer.concat([kv, this.#kv(Uint32Array.of(token), this.#stateAfter(kv))]);
    }
    return answer;
  }

  async prefill(
    request: EngineRequest,
    wanted: ReadonlySet<EngineKey>,
    signal: AbortSignal,
    { progressed }: PrefillOptions = {},
  ): Promise<Prefilled | { type: "failed"; message: string }> {
    this.prefills += 1;
    this.running += 1;
    try {
      const { length } = request.prompt;
      for (let step = 1; step <= this.steps && this.delayMs > 0; step++) {
        await sleep(this.delayMs / this.steps, undefined, { signal });
        progressed?.(Math.floor((length * step) / this.steps));
      }
    } catch {
      return { type: "failed", message: "cancelled" };
    } finally {
      this.running -= 1;
    }
    const prepared = this.prepareNow(request);
    const kv = this.#compute(prepared.tokens, null);
    const size = BLOCK * this.card.kvTokenBytes;
    for (const [i, key] of prepared.blockKeys.entries()) {
      this.held.set(key, { key, tokens: prepared.tokens.slice(i * BLOCK, (i + 1) * BLOCK), data: kv.slice(i * size, (i + 1) * size) });
    }
    this.beforeGiving();
    const full = prepared.blockKeys.length;
    const first = sha(kv).readUInt32LE();
    return {
      type: "prefilled",
      promptTokens: prepared.tokens.length,
      cachedTokens: 0,
      restoreMs: 0,
      prefillMs: 1,
      first: {
        token: first,
        bytes: Buffer.from("é"),
        logprobs: { token: "é", bytes: [195, 169], logprob: -0.1, top: [{ token: "x", bytes: [120], logprob: -Infinity }] },
      },
      blocks: prepared.blockKeys.flatMap((key) => (wanted.has(key) && this.held.has(key) ? [this.held.get(key) as KeyedBlock] : [])),
      tail: { tokens: prepared.tokens.slice(full * BLOCK), data: kv.slice(full * size) },
    };
  }

  export(keys: readonly EngineKey[]): Promise<KeyedBlock[]> {
    return Promise.resolve(keys.flatMap((key) => this.held.get(key) ?? []));
  }
}

export function fakeRequest(prompt: string): EngineRequest {
  return { id: "r", prompt, salt: "s", maxTokens: 4, temperature: 0, topP: 1, seed: 1, stop: [], ...plainSampling };
}
