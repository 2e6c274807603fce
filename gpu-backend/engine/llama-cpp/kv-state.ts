/**
 * Codec of llama.cpp's sequence-state files (magic "ggsq", version 3) for plain attention caches: the only way KV leaves or enters a
 * sequence. A parsed state can be cut into blocks and blocks joined into a new state.
 *
 *   file   := u32 magic | u32 version | u32 tokens, i32 × tokens | u32 streams | stream × streams
 *   stream := u32 cells (0: nothing follows) | cells × {i32 position, u32 1, i32 sequence} | u32 transposed | u32 layers
 *             | layers × {i32 type, u64 rowBytes, cells × rowBytes}                                 keys, one row per token
 *             | layers × {i32 type, u64 rowBytes, cells × rowBytes}                                 values, transposed = 0
 *             | layers × {i32 type, u32 elementBytes, u32 width, width × cells × elementBytes}      values, transposed = 1
 *
 * llama.cpp trusts these files (a wrong cell count makes it allocate without limit), so only images from kv-image.ts are ever loaded.
 */
export const STATE_MAGIC = 0x67677371;
export const STATE_VERSION = 3;

/** What must be equal for blocks to be exchanged. */
export interface KvLayout {
  /** Values lie width-major, as llama.cpp keeps them without flash attention. */
  transposed: boolean;
  layers: number;
  keyType: number;
  keyRowBytes: number;
  valueType: number;
  valueRowBytes: number;
  /** Bytes of one value element; the unit of the transposition. */
  valueElementBytes: number;
}

/** What this context's sequence states look like. */
export interface StateShape {
  layout: KvLayout;
  streams: number;
}

/** Keys and values of consecutive tokens, by layer, in the file's own order. */
export interface KvBlock {
  cells: number;
  keys: Buffer[];
  values: Buffer[];
}

export interface KvState extends KvBlock {
  layout: KvLayout;
  tokens: Int32Array;
  streams: number;
}

type KvParse = { type: "parsed"; state: KvState } | { type: "invalid"; message: string };

class Reader {
  readonly #bytes: Buffer;
  #offset = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get rest(): number {
    return this.#bytes.length - this.#offset;
  }

  take(length: number): Buffer {
    if (!(length <= this.rest)) throw new RangeError("the file ends early");
    this.#offset += length;
    return this.#bytes.subarray(this.#offset - length, this.#offset);
  }

  u32(): number {
    return this.take(4).readUInt32LE();
  }

  u64(): number {
    return Number(this.take(8).readBigUInt64LE());
  }
}

export function check(condition: boolean, message: string): void {
  if (!condition) throw new RangeError(message);
}

function readPositions(reader: Reader, cells: number): void {
  for (let cell = 0; cell < cells; cell++) {
    check(reader.u32() === cell, "cells are not in order of position");
    check(reader.u32() === 1, "a cell belongs to several sequences");
    reader.u32();
  }
}

function readStream(reader: Reader, cells: number): { layout: KvLayout } & KvBlock {
  readPositions(reader, cells);
  const transposed = reader.u32();
  check(transposed <= 1, "unknown layout of the values");
  const layers = reader.u32();
  check(layers > 0 && layers <= reader.rest, "no layers");
  const layout: KvLayout = {
    transposed: transposed === 1,
    layers,
    keyType: 0,
    keyRowBytes: 0,
    valueType: 0,
    valueRowBytes: 0,
    valueElementBytes: 0,
  };
  const keys: Buffer[] = [];
  for (let layer = 0; layer < layers; layer++) {
    const [type, rowBytes] = [reader.u32(), reader.u64()];
    if (layer === 0) Object.assign(layout, { keyType: type, keyRowBytes: rowBytes });
    check(type === layout.keyType && rowBytes === layout.keyRowBytes && rowBytes > 0, "layers differ in their keys");
    keys.push(reader.take(cells * rowBytes));
  }
  const values: Buffer[] = [];
  for (let layer = 0; layer < layers; layer++) {
    const type = reader.u32();
    const elementBytes = layout.transposed ? reader.u32() : 1;
    const rowBytes = layout.transposed ? reader.u32() * elementBytes : reader.u64();
    if (layer === 0) Object.assign(layout, { valueType: type, valueRowBytes: rowBytes, valueElementBytes: elementBytes });
    check(type === layout.valueType && rowBytes === layout.valueRowBytes && rowBytes > 0, "layers differ in their values");
    check(elementBytes === layout.valueElementBytes, "layers differ in their values");
    values.push(reader.take(cells * rowBytes));
  }
  return { layout, cells, keys, values };
}

/** Reads a state of exactly one non-empty stream whose cells hold positions 0, 1, 2, … The buffers alias `bytes`. */
export function parseKvState(bytes: Buffer): KvParse {
  const reader = new Reader(bytes);
  try {
    check(reader.u32() === STATE_MAGIC, "not a sequence state");
    check(reader.u32() === STATE_VERSION, "unknown version of the sequence state");
    const tokenCount = reader.u32();
    // Copied, because the file may put the numbers at any offset.
    const tokens = new Int32Array(new Uint8Array(reader.take(tokenCount * 4)).buffer);
    const streams = reader.u32();
    check(streams <= reader.rest / 4, "the file ends early");
    let stream: ReturnType<typeof readStream> | undefined;
    for (let index = 0; index < streams; index++) {
      const cells = reader.u32();
      if (cells === 0) continue;
      check(stream === undefined, "several streams hold cells");
      check(cells <= reader.rest / 12, "the file ends early");
      stream = readStream(reader, cells);
    }
    check(reader.rest === 0, "bytes after the end");
    if (stream === undefined) throw new RangeError("no cells");
    check(stream.cells === tokenCount, "tokens and cells differ in number");
    return { type: "parsed", state: { ...stream, tokens, streams } };
  } catch (error) {
    if (error instanceof RangeError) return { type: "invalid", message: error.message };
    throw error;
  }
}

interface Columns {
  bytes: Buffer;
  /** Columns of the whole matrix. */
  cells: number;
  from: number;
}

// Below this, a copy costs more to call than to do.
const shortRowBytes = 128;

/** Copies `cells` columns of a width-major matrix into another. */
export function copyColumns(source: Columns, target: Columns, cells: number, elementBytes: number): void {
  const rows = source.bytes.length / (source.cells * elementBytes);
  const even = (source.bytes.byteOffset | target.bytes.byteOffset) % 2 === 0;
  if (elementBytes === 2 && even && cells * elementBytes <= shortRowBytes) {
    const from = new Uint16Array(source.bytes.buffer, source.bytes.byteOffset, source.bytes.length / 2);
    const to = new Uint16Array(target.bytes.buffer, target.bytes.byteOffset, target.bytes.length / 2);
    for (let row = 0; row < rows; row++) {
      const read = row * source.cells + source.from;
      const write = row * target.cells + target.from;
      for (let cell = 0; cell < cells; cell++) to[write + cell] = from[read + cell] ?? 0;
    }
    return;
  }
  for (let row = 0; row < rows; row++) {
    const start = (row * source.cells + source.from) * elementBytes;
    source.bytes.copy(target.bytes, (row * target.cells + target.from) * elementBytes, start, start + cells * elementBytes);
  }
}

/** Bytes of one token's keys and values over all layers. */
export function tokenBytesOf(layout: KvLayout): number {
  return layout.layers * (layout.keyRowBytes + layout.valueRowBytes);
}

/** Tokens `from` to `to` (exclusive) as bytes of their own: the keys of every layer, then its values. Throws a RangeError outside the state. */
export function cutKvBytes(state: KvState, from: number, to: number): Buffer {
  check(from >= 0 && from < to && to <= state.cells, "the cut lies outside the state");
  const { layout } = state;
  const cells = to - from;
  // Not from Node's shared pool; every byte is written below.
  const bytes = Buffer.allocUnsafeSlow(cells * tokenBytesOf(layout));
  const block = readKvBlock(layout, cells, bytes);
  for (const [layer, key] of state.keys.entries()) block.keys[layer]?.set(key.subarray(from * layout.keyRowBytes, to * layout.keyRowBytes));
  for (const [layer, value] of state.values.entries()) {
    const target = block.values[layer];
    if (target === undefined) continue;
    if (layout.transposed) {
      copyColumns({ bytes: value, cells: state.cells, from }, { bytes: target, cells, from: 0 }, cells, layout.valueElementBytes);
    } else target.set(value.subarray(from * layout.valueRowBytes, to * layout.valueRowBytes));
  }
  return bytes;
}

/** What `cutKvBytes` wrote, as a block whose buffers alias it. Throws a RangeError when the length is another. */
export function readKvBlock(layout: KvLayout, cells: number, bytes: Uint8Array): KvBlock {
  check(bytes.length === cells * tokenBytesOf(layout), "a block has another size");
  const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const [keyBytes, valueBytes] = [cells * layout.keyRowBytes, cells * layout.valueRowBytes];
  const values = layout.layers * keyBytes;
  return {
    cells,
    keys: Array.from({ length: layout.layers }, (_, layer) => whole.subarray(layer * keyBytes, (layer + 1) * keyBytes)),
    values: Array.from({ length: layout.layers }, (_, layer) =>
      whole.subarray(values + layer * valueBytes, values + (layer + 1) * valueBytes),
    ),
  };
}

/** Tokens `from` to `to` (exclusive) as a block of its own memory. Throws a RangeError outside the state. */
export function cutKvState(state: KvState, from: number, to: number): KvBlock {
  return readKvBlock(state.layout, to - from, cutKvBytes(state, from, to));
}
