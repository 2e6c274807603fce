/** Writes GGUF version 3 files: what llama.cpp needs to load a model, and nothing more. Little-endian, tensors aligned to 32 bytes. */

const alignment = 32;
const quantBlock = 32;

export type GgufValue =
  | { type: "u32" | "i32" | "f32"; value: number }
  | { type: "bool"; value: boolean }
  | { type: "string"; value: string }
  | { type: "strings"; value: readonly string[] }
  | { type: "i32s"; value: readonly number[] };

/** `shape` has the fastest dimension first, as GGUF does. `values` yields shape's product of numbers, row after row. */
export interface GgufTensor {
  name: string;
  shape: readonly number[];
  type: "f32" | "q8_0";
  values: () => Float32Array;
}

const valueTypes = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 } as const;
const tensorTypes = { f32: 0, q8_0: 8 } as const;

class ByteSink {
  #parts: Buffer[] = [];

  bytes(part: Buffer): this {
    this.#parts.push(part);
    return this;
  }

  u32(value: number): this {
    const part = Buffer.alloc(4);
    part.writeUInt32LE(value);
    return this.bytes(part);
  }

  u64(value: number): this {
    const part = Buffer.alloc(8);
    part.writeBigUInt64LE(BigInt(value));
    return this.bytes(part);
  }

  string(value: string): this {
    const part = Buffer.from(value, "utf8");
    return this.u64(part.length).bytes(part);
  }

  value(entry: GgufValue): this {
    const part = Buffer.alloc(4);
    switch (entry.type) {
      case "u32":
        return this.u32(valueTypes.u32).u32(entry.value);
      case "i32":
        part.writeInt32LE(entry.value);
        return this.u32(valueTypes.i32).bytes(part);
      case "f32":
        part.writeFloatLE(entry.value);
        return this.u32(valueTypes.f32).bytes(part);
      case "bool":
        return this.u32(valueTypes.bool).bytes(Buffer.from([entry.value ? 1 : 0]));
      case "string":
        return this.u32(valueTypes.string).string(entry.value);
      case "strings":
        this.u32(valueTypes.array).u32(valueTypes.string).u64(entry.value.length);
        for (const text of entry.value) this.string(text);
        return this;
      case "i32s":
        this.u32(valueTypes.array).u32(valueTypes.i32).u64(entry.value.length);
        return this.bytes(Buffer.from(Int32Array.from(entry.value).buffer));
    }
  }

  take(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

const floatScratch = new Float32Array(1);
const bitScratch = new Uint32Array(floatScratch.buffer);

/** Bits of the nearest float16, ties to even. Scales are normal numbers: subnormals become zero, overflow infinity. */
export function toHalfBits(value: number): number {
  floatScratch[0] = value;
  const bits = bitScratch[0] ?? 0;
  const sign = (bits >>> 16) & 0x8000;
  const exponent = ((bits >>> 23) & 0xff) - 112;
  if (exponent <= 0) return sign;
  if (exponent >= 31) return sign | 0x7c00;
  const mantissa = bits & 0x7fffff;
  const rest = mantissa & 0x1fff;
  const half = (exponent << 10) | (mantissa >>> 13);
  // A carry out of the mantissa runs into the exponent, which is what rounding up means.
  return sign | (rest > 0x1000 || (rest === 0x1000 && (half & 1) === 1) ? half + 1 : half);
}

/** q8_0: blocks of 32 values as one float16 scale and 32 signed bytes. */
function encodeQ8(values: Float32Array): Buffer {
  const blocks = values.length / quantBlock;
  const bytes = Buffer.alloc(blocks * (quantBlock + 2));
  for (let block = 0; block < blocks; block++) {
    const from = block * quantBlock;
    let largest = 0;
    for (let i = from; i < from + quantBlock; i++) largest = Math.max(largest, Math.abs(values[i] ?? 0));
    const inverse = largest === 0 ? 0 : 127 / largest;
    let offset = bytes.writeUInt16LE(toHalfBits(largest / 127), block * (quantBlock + 2));
    for (let i = from; i < from + quantBlock; i++) offset = bytes.writeInt8(Math.round((values[i] ?? 0) * inverse), offset);
  }
  return bytes;
}

function byteLength(tensor: GgufTensor): number {
  const count = tensor.shape.reduce((product, size) => product * size, 1);
  return tensor.type === "f32" ? count * 4 : (count / quantBlock) * (quantBlock + 2);
}

function padding(length: number): Buffer {
  return Buffer.alloc((alignment - (length % alignment)) % alignment);
}

/** The whole file as bytes. Throws when a tensor yields another number of values than its shape says. */
export function encodeGguf(metadata: Readonly<Record<string, GgufValue>>, tensors: readonly GgufTensor[]): Buffer {
  const entries = Object.entries(metadata);
  const head = new ByteSink().bytes(Buffer.from("GGUF")).u32(3).u64(tensors.length).u64(entries.length);
  for (const [key, value] of entries) head.string(key).value(value);
  let offset = 0;
  for (const tensor of tensors) {
    head.string(tensor.name).u32(tensor.shape.length);
    for (const size of tensor.shape) head.u64(size);
    head.u32(tensorTypes[tensor.type]).u64(offset);
    offset += Math.ceil(byteLength(tensor) / alignment) * alignment;
  }
  const headBytes = head.take();
  const file = new ByteSink().bytes(headBytes).bytes(padding(headBytes.length));
  for (const tensor of tensors) {
    const values = tensor.values();
    const data = tensor.type === "f32" ? Buffer.from(values.buffer, values.byteOffset, values.byteLength) : encodeQ8(values);
    if (data.length !== byteLength(tensor)) throw new Error(`tensor ${tensor.name} does not fill its shape`);
    file.bytes(data).bytes(padding(data.length));
  }
  return file.take();
}
