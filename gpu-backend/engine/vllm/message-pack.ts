/**
 * Reads MessagePack (github.com/msgpack/msgpack, spec.md), as vLLM packs its events. The bytes come from another process: nothing is
 * allocated that the bytes do not pay for, and whatever is wrong with them is a value.
 */

/** Integers beyond 2^53 are bigints, all others numbers. Maps have text keys only. */
export type Packed = null | boolean | number | bigint | string | Uint8Array | readonly Packed[] | ReadonlyMap<string, Packed>;

type Unpacked = { ok: true; value: Packed } | { ok: false; message: string };

/** Arrays and maps inside each other. A batch of events has five. */
const MAX_DEPTH = 12;
/** Values in one message: a batch of a million tokens is still read. */
const MAX_VALUES = 1 << 21;

/** Of a message that is one value and nothing behind it. */
export function unpack(bytes: Uint8Array): Unpacked {
  const reader = new Reader(bytes);
  const value = reader.value(0);
  if (value === undefined) return { ok: false, message: reader.problem };
  return reader.atEnd ? { ok: true, value } : { ok: false, message: "there are bytes behind the value" };
}

const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

class Reader {
  problem = "";
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;
  #values = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** Undefined: `problem` says why. */
  value(depth: number): Packed | undefined {
    const head = this.#take(1);
    if (head === undefined) return undefined;
    if (depth > MAX_DEPTH) return this.#fail("it is nested too deeply");
    if ((this.#values += 1) > MAX_VALUES) return this.#fail("it has too many values");
    const byte = this.#bytes[head] ?? 0;
    if (byte < 0x80) return byte;
    if (byte >= 0xe0) return byte - 0x100;
    if (byte < 0x90) return this.#map(byte & 0x0f, depth);
    if (byte < 0xa0) return this.#array(byte & 0x0f, depth);
    if (byte < 0xc0) return this.#text(byte & 0x1f);
    return this.#tagged(byte, depth);
  }

  #tagged(byte: number, depth: number): Packed | undefined {
    switch (byte) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return this.#binary(this.#length(byte - 0xc4));
      case 0xca:
        return this.#number(4, (view, at) => view.getFloat32(at));
      case 0xcb:
        return this.#number(8, (view, at) => view.getFloat64(at));
      case 0xcc:
      case 0xcd:
      case 0xce:
        return this.#length(byte - 0xcc);
      case 0xcf:
        return this.#number(8, (view, at) => short(view.getBigUint64(at)));
      case 0xd0:
        return this.#number(1, (view, at) => view.getInt8(at));
      case 0xd1:
        return this.#number(2, (view, at) => view.getInt16(at));
      case 0xd2:
        return this.#number(4, (view, at) => view.getInt32(at));
      case 0xd3:
        return this.#number(8, (view, at) => short(view.getBigInt64(at)));
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.#text(this.#length(byte - 0xd9));
      case 0xdc:
      case 0xdd:
        return this.#array(this.#length(byte - 0xdb), depth);
      case 0xde:
      case 0xdf:
        return this.#map(this.#length(byte - 0xdd), depth);
      default:
        return this.#fail(`there is a value of type 0x${byte.toString(16)}`);
    }
  }

  /** An unsigned number of 1, 2 or 4 bytes: `size` 0, 1 or 2. */
  #length(size: number): number | undefined {
    const bytes = 1 << size;
    return this.#number(bytes, (view, at) => (bytes === 1 ? view.getUint8(at) : bytes === 2 ? view.getUint16(at) : view.getUint32(at)));
  }

  #number<T extends number | bigint>(size: number, read: (view: DataView, at: number) => T): T | undefined {
    const at = this.#take(size);
    return at === undefined ? undefined : read(this.#view, at);
  }

  #text(length: number | undefined): string | undefined {
    const bytes = this.#binary(length);
    if (bytes === undefined) return undefined;
    try {
      return text.decode(bytes);
    } catch {
      return this.#fail("a text is not UTF-8");
    }
  }

  #binary(length: number | undefined): Uint8Array | undefined {
    const at = length === undefined ? undefined : this.#take(length);
    return at === undefined ? undefined : this.#bytes.subarray(at, this.#at);
  }

  #array(length: number | undefined, depth: number): Packed[] | undefined {
    if (!this.#holds(length)) return undefined;
    const values: Packed[] = [];
    for (let index = 0; index < length; index++) {
      const value = this.value(depth + 1);
      if (value === undefined) return undefined;
      values.push(value);
    }
    return values;
  }

  #map(length: number | undefined, depth: number): Map<string, Packed> | undefined {
    if (!this.#holds(length)) return undefined;
    const values = new Map<string, Packed>();
    for (let index = 0; index < length; index++) {
      const key = this.value(depth + 1);
      if (key === undefined) return undefined;
      if (typeof key !== "string") return this.#fail("a map has a key that is no text");
      const value = this.value(depth + 1);
      if (value === undefined) return undefined;
      values.set(key, value);
    }
    return values;
  }

  /** Each value has a byte at least: a length that the bytes can't hold is wrong before anything is read. */
  #holds(length: number | undefined): length is number {
    if (length === undefined) return false;
    if (length <= this.#bytes.length - this.#at) return true;
    this.#fail("it ends too early");
    return false;
  }

  /** Where the next `count` bytes begin. */
  #take(count: number): number | undefined {
    if (count > this.#bytes.length - this.#at) return this.#fail("it ends too early");
    const at = this.#at;
    this.#at += count;
    return at;
  }

  #fail(problem: string): undefined {
    this.problem = problem;
    return undefined;
  }
}

function short(value: bigint): number | bigint {
  return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
}
