/**
 * Whether the numbers of KV from outside are finite. One that is not (f16 beyond 65,504, a damaged scale) makes every answer garbage whose attention reads it, and also
 * answers that must not see it: engines mask foreign cells by adding -Infinity or multiplying by 0, and NaN survives both.
 */

/** One part of a block's data: `tokens × tokenBytes` bytes in which every `strideBytes` bytes begin with `floats` numbers of one type; the rest are integers. */
export interface KvNumbers {
  tokenBytes: number;
  float: "f32" | "f16" | "bf16";
  strideBytes: number;
  floats: number;
}

/** Exponent bits, all ones in a number that is not finite: in a word of two halves, or of one f32. */
const EXPONENTS = { f32: 0x7f80_0000, f16: 0x7c00_7c00, bf16: 0x7f80_7f80 } as const;
/** Added to the exponent bits, carries into the sign's place exactly where they are all ones. */
const CARRY = { f32: 0x0080_0000, f16: 0x0400_0400, bf16: 0x0080_0080 } as const;
const SIGNS = { f32: 0x8000_0000, f16: 0x8000_8000, bf16: 0x8000_8000 } as const;
const FLOAT_BYTES = { f32: 4, f16: 2, bf16: 2 } as const;

/**
 * `numbers`: the parts in the order in which they lie; none: the data is opaque and counts as finite. Data of another length than the parts
 * say is not finite: nobody knows where its numbers are.
 */
export function isFiniteKv(data: Uint8Array, tokens: number, numbers: readonly KvNumbers[]): boolean {
  if (numbers.length === 0) return true;
  if (numbers.reduce((sum, { tokenBytes }) => sum + tokens * tokenBytes, 0) !== data.length) return false;
  let at = 0;
  for (const part of numbers) {
    const bytes = data.subarray(at, at + tokens * part.tokenBytes);
    at += bytes.length;
    if (!isFinitePart(bytes, part)) return false;
  }
  return true;
}

function isFinitePart(bytes: Uint8Array, { float, strideBytes, floats }: KvNumbers): boolean {
  const size = FLOAT_BYTES[float];
  if (strideBytes === floats * size && bytes.length % 4 === 0) return areFiniteWords(wordsOf(bytes), float);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const exponent = EXPONENTS[float] & (size === 2 ? 0xffff : -1);
  for (let start = 0; start + floats * size <= bytes.length; start += strideBytes) {
    for (let n = 0; n < floats; n++) {
      const number = size === 2 ? view.getUint16(start + n * size, true) : view.getUint32(start + n * size, true);
      if ((number & exponent) === exponent) return false;
    }
  }
  return true;
}

/** No branch within: a few GB/s, well above the checksum that every block pays too. */
function areFiniteWords(words: Int32Array, float: KvNumbers["float"]): boolean {
  const exponents = EXPONENTS[float];
  const carry = CARRY[float];
  let carried = 0;
  for (let at = 0; at < words.length; at++) carried |= (((words[at] ?? 0) & exponents) + carry) | 0;
  return (carried & SIGNS[float]) === 0;
}

/** As machine words; a copy where the bytes do not begin at one. Both ends of a transfer are little-endian machines (x64, arm64). */
function wordsOf(bytes: Uint8Array): Int32Array {
  const from = bytes.byteOffset % 4 === 0 ? bytes : Uint8Array.from(bytes);
  return new Int32Array(from.buffer, from.byteOffset, from.byteLength / 4);
}
