/** Writes llama.cpp's sequence-state files (kv-state.ts reads them): from blocks, or of zeros. */
import { check, copyColumns, type KvBlock, type KvLayout, STATE_MAGIC, STATE_VERSION } from "./kv-state.ts";

function joinValues(layout: KvLayout, blocks: readonly KvBlock[], layer: number, cells: number): Buffer {
  const parts = blocks.map((block) => block.values[layer] ?? Buffer.alloc(0));
  if (!layout.transposed) return Buffer.concat(parts);
  const joined = Buffer.alloc(cells * layout.valueRowBytes);
  let column = 0;
  for (const [index, part] of parts.entries()) {
    const count = blocks[index]?.cells ?? 0;
    copyColumns({ bytes: part, cells: count, from: 0 }, { bytes: joined, cells, from: column }, count, layout.valueElementBytes);
    column += count;
  }
  return joined;
}

/**
 * A state file of `cells` cells that are all zero, in parts: each behind a gap of so many zero bytes, and `length` bytes in all. A file with holes takes no memory for
 * what is zero anyway, and the KV of a whole sequence is large.
 */
export function zeroKvState(layout: KvLayout, cells: number, streams: number): { parts: { at: number; bytes: Buffer }[]; length: number } {
  const parts: { at: number; bytes: Buffer }[] = [];
  let at = 0;
  const put = (bytes: Buffer): void => {
    parts.push({ at, bytes });
    at += bytes.length;
  };
  put(stateHead(layout, new Uint32Array(cells), streams));
  for (let layer = 0; layer < layout.layers; layer++) {
    put(keysHead(layout));
    at += cells * layout.keyRowBytes;
  }
  for (let layer = 0; layer < layout.layers; layer++) {
    put(valuesHead(layout));
    at += cells * layout.valueRowBytes;
  }
  return { parts, length: at + (streams - 1) * 4 };
}

function words(...numbers: number[]): Buffer {
  return Buffer.from(Uint32Array.from(numbers).buffer);
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

/** Up to the first layer's keys. The cells lie in the file's first stream; the loader maps them to the sequence it is asked for. */
function stateHead(layout: KvLayout, tokens: ArrayLike<number>, streams: number): Buffer {
  const cells = tokens.length;
  const positions = new Uint32Array(cells * 3);
  for (let cell = 0; cell < cells; cell++) positions.set([cell, 1, 0], cell * 3);
  return Buffer.concat([
    words(STATE_MAGIC, STATE_VERSION, cells),
    Buffer.from(Uint32Array.from(tokens).buffer),
    words(streams, cells),
    Buffer.from(positions.buffer),
    words(layout.transposed ? 1 : 0, layout.layers),
  ]);
}

function keysHead({ keyType, keyRowBytes }: KvLayout): Buffer {
  return Buffer.concat([words(keyType), u64(keyRowBytes)]);
}

function valuesHead({ transposed, valueType, valueElementBytes, valueRowBytes }: KvLayout): Buffer {
  if (transposed) return words(valueType, valueElementBytes, valueRowBytes / valueElementBytes);
  return Buffer.concat([words(valueType), u64(valueRowBytes)]);
}

/** A state file of consecutive blocks for a context of `streams` sequences. Throws a RangeError when blocks do not fit layout and tokens. */
export function joinKvBlocks(layout: KvLayout, tokens: ArrayLike<number>, blocks: readonly KvBlock[], streams: number): Buffer {
  const cells = blocks.reduce((sum, block) => sum + block.cells, 0);
  check(cells === tokens.length && cells > 0, "tokens and cells differ in number");
  for (const block of blocks) {
    check(block.keys.length === layout.layers && block.values.length === layout.layers, "a block has another number of layers");
    check(
      block.keys.every((key) => key.length === block.cells * layout.keyRowBytes),
      "a block has keys of another size",
    );
    check(
      block.values.every((value) => value.length === block.cells * layout.valueRowBytes),
      "a block has values of another size",
    );
  }
  const parts = [stateHead(layout, tokens, streams)];
  for (let layer = 0; layer < layout.layers; layer++) {
    parts.push(keysHead(layout), ...blocks.map((block) => block.keys[layer] ?? Buffer.alloc(0)));
  }
  for (let layer = 0; layer < layout.layers; layer++) parts.push(valuesHead(layout), joinValues(layout, blocks, layer, cells));
  parts.push(Buffer.alloc((streams - 1) * 4));
  return Buffer.concat(parts);
}
