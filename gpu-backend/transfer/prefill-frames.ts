/** The frames of a sent prefill, in the order in which the receiver reads them. */
import type { PrefillAsk } from "../../src/wire/kv-ask.ts";
import type { EngineKey, KeyedBlock, KvCard, Prefilled } from "../engine/engine.ts";
import type { FrameStream } from "./frame-stream.ts";

/** The blocks found, in the order of `keys`, up to the first missing one: blocks behind a gap are of no use. */
export function leading(keys: readonly EngineKey[], found: readonly KeyedBlock[]): KeyedBlock[] {
  const byKey = new Map(found.map((block) => [block.key, block]));
  const blocks: KeyedBlock[] = [];
  for (const key of keys) {
    const block = byKey.get(key);
    if (block === undefined) break;
    blocks.push(block);
  }
  return blocks;
}

export function space(card: KvCard): { kvSpace: string; blockTokens: number; tokenBytes: number } {
  return { kvSpace: card.kvSpace, blockTokens: card.blockTokens, tokenBytes: card.kvTokenBytes };
}

/** False: the receiver left before the network had taken all frames. */
export async function sendPrefilled(
  card: KvCard,
  stream: FrameStream,
  ask: PrefillAsk,
  { prefilled, blocks, whole }: { prefilled: Prefilled; blocks: readonly KeyedBlock[]; whole: boolean },
): Promise<boolean> {
  const { first, tail, promptTokens, cachedTokens } = prefilled;
  await stream.send({ type: "head", ...space(card), promptTokens, first: ask.have, blocks: blocks.length, cachedTokens });
  let dataBytes = 0;
  for (const [i, block] of blocks.entries()) {
    if (!(await stream.send({ type: "block", index: ask.have + i, ...block }))) return false;
    dataBytes += block.data.byteLength;
  }
  if (whole) {
    await stream.send({ type: "tail", ...tail });
    await stream.send({ type: "first", token: first.token, bytes: first.bytes, logprobs: copyOf(first.logprobs) });
    dataBytes += tail.data.byteLength;
  }
  return stream.end({ type: "end", blocks: blocks.length, tail: whole, dataBytes });
}

/** Readonly lists as the wire's. */
function copyOf(logprobs: Prefilled["first"]["logprobs"]) {
  if (logprobs === null) return null;
  return { ...logprobs, bytes: [...logprobs.bytes], top: logprobs.top.map((other) => ({ ...other, bytes: [...other.bytes] })) };
}
