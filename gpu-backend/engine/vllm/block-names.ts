/**
 * Names of blocks that a prompt's tokens give: the engine's own hashes depend on its settings, and most of them can't be computed here (its
 * default hashes a Python pickle). A block's key is the SHA-256 of the key before it and of the block's tokens; the first follows on the
 * model's adapter and the tenant's salt. The engine's events say the tokens of each hash, so each hash gets its key when it is stored.
 *
 * Example: stored {hashes [h0, h1], parent null, tokens t0…t31, blocks of 16, extra keys [["salt"], null]} → h0 = keys("salt", t0…t31)[0], h1 = keys(…)[1].
 */
import { createHash } from "node:crypto";
import type { EngineKey } from "../engine.ts";
import type { BlockHash, StoredBlocks } from "./kv-events.ts";

/** Newer versions may name a salt where older ones only give it. */
const SALT_TAG = "cache_salt\u0000";

export class BlockNames {
  readonly #blockTokens: number;
  readonly #adapter: string | null;
  readonly #keys = new Map<BlockHash, EngineKey>();

  /** @param adapter the model's, where it is an adapter of the model that the engine was started with. */
  constructor(blockTokens: number, adapter: string | null) {
    this.#blockTokens = blockTokens;
    this.#adapter = adapter;
  }

  /** Of a prompt's full blocks. */
  ofPrompt(tokens: Uint32Array, salt: string): EngineKey[] {
    const keys: EngineKey[] = [];
    let before = rootOf(this.#adapter, salt);
    for (let end = this.#blockTokens; end <= tokens.length; end += this.#blockTokens) {
      before = keyAfter(before, tokens.subarray(end - this.#blockTokens, end));
      keys.push(before as EngineKey);
    }
    return keys;
  }

  of(hash: BlockHash): EngineKey | undefined {
    return this.#keys.get(hash);
  }

  /** Those that follow on a block that is not known here, and those of which only the hash is told, stay without a name. */
  learn({ keys: hashes, parent, tokens, blockTokens, adapter, extraKeys }: StoredBlocks): void {
    // An engine that does not say its extra keys does not say whose blocks they are.
    if (tokens === null || blockTokens === null || extraKeys === null) return;
    let before: string | undefined = parent === null ? undefined : this.#keys.get(parent);
    if (before === undefined && parent !== null) return;
    for (const [index, hash] of hashes.entries()) {
      const extra = (extraKeys[index] ?? []).filter((part) => part !== adapter);
      const salt: string | undefined = before === undefined ? extra.shift() : undefined;
      before ??= rootOf(adapter, salt?.startsWith(SALT_TAG) === true ? salt.slice(SALT_TAG.length) : (salt ?? ""));
      // What else a block depends on, such as an image, is in no prompt of tokens alone.
      before = keyAfter(before, tokens.subarray(index * blockTokens, (index + 1) * blockTokens), extra);
      this.#keys.set(hash, before as EngineKey);
    }
  }

  forget(hash: BlockHash): void {
    this.#keys.delete(hash);
  }

  clear(): void {
    this.#keys.clear();
  }
}

function rootOf(adapter: string | null, salt: string): string {
  return createHash("sha256")
    .update(JSON.stringify([adapter, salt]))
    .digest("hex");
}

function keyAfter(before: string, tokens: Uint32Array, extra: readonly string[] = []): string {
  const hash = createHash("sha256")
    .update(before)
    .update(new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength));
  if (extra.length > 0) hash.update(JSON.stringify(extra));
  return hash.digest("hex");
}
