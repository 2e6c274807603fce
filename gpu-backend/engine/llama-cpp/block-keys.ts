/** The engine's block keys: a SHA-256 chain over what makes KV exchangeable and over the tokens. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import type { EngineKey } from "../engine.ts";

/** SHA-256 of a file, read in pieces. */
export async function hashFile(file: string): Promise<Buffer> {
  const hash = createHash("sha256");
  for await (const piece of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(piece as Buffer);
  return hash.digest();
}

/** `root` names engine release, weights and KV layout; keys of different salts never meet. One key for each full block. */
export function blockKeys(root: Buffer, salt: string, tokens: Uint32Array, blockTokens: number): EngineKey[] {
  let parent = createHash("sha256").update(root).update(salt).digest();
  const keys: EngineKey[] = [];
  for (let end = blockTokens; end <= tokens.length; end += blockTokens) {
    const bytes = new Uint8Array(tokens.buffer, tokens.byteOffset + (end - blockTokens) * 4, blockTokens * 4);
    parent = createHash("sha256").update(parent).update(bytes).digest();
    keys.push(parent.toString("hex") as EngineKey);
  }
  return keys;
}
