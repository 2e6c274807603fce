/**
 * KV transfer, sender → receiver: a stream of frames, little-endian. docs/kv-transfer.md has the whole exchange.
 *   frame := u32 length of what follows | u8 kind | payload | 16 bytes check
 *   pulse 0: u32 tokens of the prompt that are computed or held; the sender is alive and not yet ready
 *   head  1: u8 version, 3 × u8 0 | 32 bytes kvSpace | u32 promptTokens | u32 blockTokens | u32 tokenBytes | u32 first | u32 blocks | u32 cachedTokens
 *   block 2: u32 index | 32 bytes key | u32 tokens, u32 × tokens | data
 *   tail  3: u32 tokens, u32 × tokens | data
 *   first 4: u32 token | u32 bytes, u8 × bytes | logprobs as JSON in ASCII
 *   end   5: u32 blocks | u8 tail, 3 × u8 0 | u64 bytes of all data
 *   error 6: u8 reason
 * check = first 16 bytes of SHA-256(the check before | the frame up to its check); the first follows one over the context, which names
 * the request. So every check vouches for all bytes since the start: a flipped bit, a frame lost, repeated, moved or taken from another
 * stream ends the transfer. An unkeyed hash keeps out damage, not a liar: that is what the tickets and the receiver's own tokens are for.
 */
import { z } from "zod";
import { Fields, KEY_BYTES, Payload } from "./kv-fields.ts";

/** SHA-256 over the parts as one string of bytes. The shells supply it. */
export type Digest = (parts: readonly Uint8Array[]) => Uint8Array;

export const KV_VERSION = 2;
const CHECK_BYTES = 16;
const MOST_FIRST_BYTES = 65_536;

const ERRORS = ["busy", "refused", "failed", "mismatch", "gone"] as const;
/** busy: its queue is full · refused: its engine can't run this · failed: its engine failed · mismatch: other tokens or another KV space · gone: it no longer holds the blocks. */
export type TransferError = (typeof ERRORS)[number];

const Alternative = z.object({
  token: z.string(),
  bytes: z.array(z.number().int().min(0).max(255)),
  // JSON has no -Infinity.
  logprob: z
    .number()
    .max(0)
    .nullable()
    .transform((value) => value ?? -Infinity),
});
const Logprobs = Alternative.extend({ top: z.array(Alternative).max(64) }).nullable();
export type FirstLogprobs = z.infer<typeof Logprobs>;

interface HeadFrame {
  type: "head";
  kvSpace: string;
  /** 0 when blocks are pulled without their prompt. */
  promptTokens: number;
  blockTokens: number;
  tokenBytes: number;
  /** Index of the first block that follows. */
  first: number;
  /** Of the prompt, what the sender did not compute for this; 0 in a pull. */
  cachedTokens: number;
  /** How many follow at most. */
  blocks: number;
}

/** Keys and the KV space are lower-case hex of 32 bytes. */
export type Frame =
  | { type: "pulse"; tokens: number }
  | HeadFrame
  | { type: "block"; index: number; key: string; tokens: Uint32Array; data: Uint8Array }
  | { type: "tail"; tokens: Uint32Array; data: Uint8Array }
  | { type: "first"; token: number; bytes: Uint8Array; logprobs: FirstLogprobs }
  | { type: "end"; blocks: number; tail: boolean; dataBytes: number }
  | { type: "error"; reason: TransferError };

/** The bound a receiver puts on one frame: nothing larger can be honest. */
export function mostFrameBytes(blockTokens: number, tokenBytes: number): number {
  return Math.max(MOST_FIRST_BYTES, 1 + 4 + KEY_BYTES + 4 + blockTokens * (4 + tokenBytes) + CHECK_BYTES);
}

const none = new Uint8Array(0);

function asciiJson(value: unknown): Uint8Array {
  const text = JSON.stringify(value).replaceAll(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
  return Uint8Array.from(text, (unit) => unit.charCodeAt(0));
}

function encode(frame: Frame): { fields: Uint8Array; data: Uint8Array } {
  switch (frame.type) {
    case "pulse":
      return { fields: new Fields(0, 4).u32(frame.tokens).bytes, data: none };
    case "head": {
      const fields = new Fields(1, 60).u8(KV_VERSION).u8(0).u8(0).u8(0).key(frame.kvSpace);
      fields
        .u32(frame.promptTokens)
        .u32(frame.blockTokens)
        .u32(frame.tokenBytes)
        .u32(frame.first)
        .u32(frame.blocks)
        .u32(frame.cachedTokens);
      return { fields: fields.bytes, data: none };
    }
    case "block": {
      const fields = new Fields(2, 8 + KEY_BYTES + 4 * frame.tokens.length).u32(frame.index).key(frame.key).tokens(frame.tokens);
      return { fields: fields.bytes, data: frame.data };
    }
    case "tail":
      return { fields: new Fields(3, 4 + 4 * frame.tokens.length).tokens(frame.tokens).bytes, data: frame.data };
    case "first": {
      const fields = new Fields(4, 8 + frame.bytes.length).u32(frame.token).u32(frame.bytes.length).raw(frame.bytes);
      return { fields: fields.bytes, data: asciiJson(frame.logprobs) };
    }
    case "end": {
      const fields = new Fields(5, 16).u32(frame.blocks).u8(frame.tail ? 1 : 0);
      return { fields: fields.u8(0).u8(0).u8(0).u64(frame.dataBytes).bytes, data: none };
    }
    case "error":
      return { fields: new Fields(6, 1).u8(ERRORS.indexOf(frame.reason)).bytes, data: none };
  }
}

function startCheck(digest: Digest, context: string): Uint8Array {
  return digest([asciiJson(["warmpath kv", KV_VERSION, context])]).subarray(0, CHECK_BYTES);
}

export class FrameWriter {
  readonly #digest: Digest;
  #check: Uint8Array;

  constructor(digest: Digest, context: string) {
    this.#digest = digest;
    this.#check = startCheck(digest, context);
  }

  /** The frame's bytes in parts; data is not copied. */
  write(frame: Frame): Uint8Array[] {
    const { fields, data } = encode(frame);
    new DataView(fields.buffer).setUint32(0, fields.length - 4 + data.length + CHECK_BYTES, true);
    this.#check = this.#digest([this.#check, fields, data]).subarray(0, CHECK_BYTES);
    return data.length === 0 ? [fields, this.#check] : [fields, data, this.#check];
  }
}

function decodeFirst(from: Payload): Frame | null {
  const token = from.u32();
  const bytes = from.take(from.u32());
  const json: unknown = JSON.parse(String.fromCharCode(...from.take(from.rest)));
  const parsed = Logprobs.safeParse(json);
  return parsed.success ? { type: "first", token, bytes, logprobs: parsed.data } : null;
}

function decodeHead(from: Payload): Frame | null {
  if (from.u32() !== KV_VERSION) return null;
  const [kvSpace, promptTokens, blockTokens] = [from.key(), from.u32(), from.u32()];
  const [tokenBytes, first, blocks, cachedTokens] = [from.u32(), from.u32(), from.u32(), from.u32()];
  return { type: "head", kvSpace, promptTokens, blockTokens, tokenBytes, first, blocks, cachedTokens };
}

function decode(kind: number, from: Payload): Frame | null {
  if (kind === 0) return { type: "pulse", tokens: from.u32() };
  if (kind === 1) return decodeHead(from);
  if (kind === 2) return { type: "block", index: from.u32(), key: from.key(), tokens: from.tokens(), data: from.take(from.rest) };
  if (kind === 3) return { type: "tail", tokens: from.tokens(), data: from.take(from.rest) };
  if (kind === 4) return decodeFirst(from);
  if (kind === 5) {
    const [blocks, tail] = [from.u32(), from.u32()];
    return tail > 1 ? null : { type: "end", blocks, tail: tail === 1, dataBytes: from.u64() };
  }
  const reason = kind === 6 ? ERRORS[from.u8()] : undefined;
  return reason === undefined ? null : { type: "error", reason };
}

/** Takes chunks of any size. Once bad it stays bad; after `end` or `error` no byte may follow. */
export class FrameReader {
  readonly #digest: Digest;
  readonly #most: number;
  #check: Uint8Array;
  readonly #length = new Uint8Array(4);
  #body: Uint8Array | null = null;
  #filled = 0;
  #ended = false;
  #bad: string | null = null;

  /** `mostBytes`: see mostFrameBytes. */
  constructor(digest: Digest, context: string, mostBytes: number) {
    this.#digest = digest;
    this.#most = mostBytes;
    this.#check = startCheck(digest, context);
  }

  /** The frames that these bytes complete, good whatever follows them; `bad`: what is wrong with the bytes after those. */
  push(chunk: Uint8Array): { frames: Frame[]; bad: string | null } {
    const frames: Frame[] = [];
    let at = 0;
    while (at < chunk.length && this.#bad === null) {
      if (this.#ended) {
        this.#bad = "bytes after the end";
        break;
      }
      const into = this.#body ?? this.#length;
      const part = chunk.subarray(at, at + into.length - this.#filled);
      into.set(part, this.#filled);
      this.#filled += part.length;
      at += part.length;
      if (this.#filled < into.length) break;
      this.#filled = 0;
      if (this.#body === null) this.#open();
      else frames.push(...this.#close(this.#body));
    }
    return { frames, bad: this.#bad };
  }

  /** Memory is taken only for a length that may be honest. */
  #open(): void {
    const length = new DataView(this.#length.buffer).getUint32(0, true);
    if (length < 1 + CHECK_BYTES || length > this.#most) this.#bad = "a frame's length is out of bounds";
    else this.#body = new Uint8Array(length);
  }

  #close(body: Uint8Array): Frame[] {
    this.#body = null;
    const content = body.subarray(0, body.length - CHECK_BYTES);
    const check = this.#digest([this.#check, this.#length, content]).subarray(0, CHECK_BYTES);
    if (!check.every((byte, i) => byte === body[content.length + i])) {
      this.#bad = "a frame's check is wrong";
      return [];
    }
    this.#check = check;
    let frame: Frame | null = null;
    const payload = new Payload(content.subarray(1));
    try {
      frame = decode(content[0] ?? 255, payload);
    } catch {
      // Too short, or no JSON.
    }
    if (frame === null || payload.rest !== 0) {
      this.#bad = "a frame has another shape";
      return [];
    }
    this.#ended = frame.type === "end" || frame.type === "error";
    return [frame];
  }
}
