/** What it costs to look at every number of a block, beside the seal that every block pays anyway; and what looking at logits costs decoding. */
import { openBlock, sealBlock } from "../../../gpu-backend/blocks/block.ts";
import type { EngineKey, KvCard } from "../../../gpu-backend/engine/engine.ts";
import { isFiniteKv, type KvNumbers } from "../../../gpu-backend/engine/kv-numbers.ts";
import { median, round } from "./figures.ts";

const ROUNDS = 40;
const BATCH = 8;
const Q8_BLOCK_BYTES = 34;

export interface CheckRow {
  part: "check";
  numbers: "f16" | "q8_0";
  blockBytes: number;
  /** Medians, for one block. */
  checkMs: number;
  openMs: number;
  /** Of opening: the checksum, the tokens and the numbers. */
  share: number;
  gigabytesPerSecond: number;
}

function timed(work: () => unknown): number {
  const samples: number[] = [];
  for (let n = 0; n < ROUNDS; n++) {
    const startedMs = performance.now();
    for (let k = 0; k < BATCH; k++) work();
    samples.push((performance.now() - startedMs) / BATCH);
  }
  return median(samples.slice(ROUNDS / 4));
}

/** Blocks as large as this engine's, in its own numbers and as q8_0. */
export function measureCheck({ kvSpace, kvTokenBytes, blockTokens }: KvCard): CheckRow[] {
  const q8Bytes = Math.floor(kvTokenBytes / 2 / 32) * Q8_BLOCK_BYTES;
  const forms: [CheckRow["numbers"], number, KvNumbers][] = [
    ["f16", kvTokenBytes, { tokenBytes: kvTokenBytes, float: "f16", strideBytes: 2, floats: 1 }],
    ["q8_0", q8Bytes, { tokenBytes: q8Bytes, float: "f16", strideBytes: Q8_BLOCK_BYTES, floats: 1 }],
  ];
  return forms.map(([numbers, tokenBytes, part]) => {
    const tokens = Uint32Array.from({ length: blockTokens }, (_, n) => n);
    const data = new Uint8Array(blockTokens * tokenBytes).fill(0x11);
    const key = "ab".repeat(32) as EngineKey;
    const { bytes } = sealBlock({ key, tokens, data }, { parent: null, kvSpace, kvTokenBytes: tokenBytes });
    const checkMs = timed(() => isFiniteKv(data, blockTokens, [part]));
    const openMs = timed(() => openBlock(bytes, { key, kvSpace, kvTokenBytes: tokenBytes, kvNumbers: [part], tokens }));
    const gigabytesPerSecond = round(data.length / checkMs / 1e6, 2);
    return {
      part: "check",
      numbers,
      blockBytes: data.length,
      checkMs: round(checkMs, 4),
      openMs: round(openMs, 4),
      share: round(checkMs / openMs, 3),
      gigabytesPerSecond,
    };
  });
}
