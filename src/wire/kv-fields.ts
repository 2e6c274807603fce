/** The fields of a KV frame (kv.ts), little-endian, written and read in order. */
export const KEY_BYTES = 32;

function unhex(text: string, into: Uint8Array, at: number): void {
  for (let i = 0; i < KEY_BYTES; i++) into[at + i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
}

function hex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
}

/** Builds what is not data: u32 length, u8 kind, then the fields. */
export class Fields {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  #at = 5;

  constructor(kind: number, size: number) {
    this.bytes = new Uint8Array(5 + size);
    this.#view = new DataView(this.bytes.buffer);
    this.bytes[4] = kind;
  }
  u8(value: number): this {
    this.bytes[this.#at++] = value;
    return this;
  }
  u32(value: number): this {
    this.#view.setUint32(this.#at, value, true);
    this.#at += 4;
    return this;
  }
  u64(value: number): this {
    this.#view.setBigUint64(this.#at, BigInt(value), true);
    this.#at += 8;
    return this;
  }
  key(text: string): this {
    unhex(text, this.bytes, this.#at);
    this.#at += KEY_BYTES;
    return this;
  }
  tokens(tokens: Uint32Array): this {
    this.u32(tokens.length);
    for (const token of tokens) this.u32(token);
    return this;
  }
  raw(bytes: Uint8Array): this {
    this.bytes.set(bytes, this.#at);
    this.#at += bytes.length;
    return this;
  }
}

/** Reads a payload; throws RangeError where it is too short, and for nothing else. */
export class Payload {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  get rest(): number {
    return this.#bytes.length - this.#at;
  }
  take(length: number): Uint8Array {
    if (length > this.rest) throw new RangeError("short");
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }
  u8(): number {
    return this.#view.getUint8(this.#at++);
  }
  u32(): number {
    this.#at += 4;
    return this.#view.getUint32(this.#at - 4, true);
  }
  u64(): number {
    this.#at += 8;
    return Number(this.#view.getBigUint64(this.#at - 8, true));
  }
  key(): string {
    return hex(this.take(KEY_BYTES));
  }
  tokens(): Uint32Array {
    const count = this.u32();
    if (count * 4 > this.rest) throw new RangeError("short");
    return Uint32Array.from({ length: count }, () => this.u32());
  }
}
