/** vLLM's recorded KV events (vllm-events/README.md), and frames made by hand. */
import { readFileSync } from "node:fs";
import path from "node:path";
import { z } from "zod";

const Row = z.object({
  kind: z.enum(["live", "replayed", "request"]),
  server: z.string().optional(),
  /** The request that these frames followed. */
  request: z.string().optional(),
  portOffset: z.number().optional(),
  frames: z.array(z.string().transform((frame) => new Uint8Array(Buffer.from(frame, "base64")))).optional(),
  prompt: z.array(z.number()).optional(),
  cachedTokens: z.number().optional(),
  salt: z.string().nullish(),
});
export type Recorded = z.infer<typeof Row>;

export const RECORDINGS = ["one-rank", "two-ranks", "device-and-host"] as const;

export function recorded(name: (typeof RECORDINGS)[number]): Recorded[] {
  const lines = readFileSync(path.join(import.meta.dirname, "vllm-events", `${name}.jsonl`), "utf8");
  return lines
    .trim()
    .split("\n")
    .map((line) => Row.parse(JSON.parse(line)));
}

export type Packable = null | boolean | number | bigint | string | Uint8Array | readonly Packable[] | { readonly [name: string]: Packable };

/** MessagePack, each value in the longest form that the format has, but for a bigint: 64 bits, signed if negative. */
export function pack(value: Packable): Buffer {
  if (value === null) return Buffer.of(0xc0);
  if (typeof value === "boolean") return Buffer.of(value ? 0xc3 : 0xc2);
  if (typeof value === "number") {
    const bytes = Buffer.alloc(9, 0xcb);
    bytes.writeDoubleBE(value, 1);
    return Number.isSafeInteger(value) ? pack(BigInt(value)) : bytes;
  }
  if (typeof value === "bigint") {
    const bytes = Buffer.alloc(9, value < 0n ? 0xd3 : 0xcf);
    bytes.writeBigUInt64BE(BigInt.asUintN(64, value), 1);
    return bytes;
  }
  if (typeof value === "string") return Buffer.concat([headOf(0xdb, Buffer.byteLength(value)), Buffer.from(value)]);
  if (value instanceof Uint8Array) return Buffer.concat([headOf(0xc6, value.length), value]);
  if (isArray(value)) return Buffer.concat([headOf(0xdd, value.length), ...value.map(pack)]);
  const entries = Object.entries(value);
  return Buffer.concat([headOf(0xdf, entries.length), ...entries.flatMap(([name, inner]) => [pack(name), pack(inner)])]);
}

function isArray(value: object): value is readonly Packable[] {
  return Array.isArray(value);
}

function headOf(type: number, length: number): Buffer {
  const head = Buffer.alloc(5, type);
  head.writeUInt32BE(length, 1);
  return head;
}

/** A live message of these events. */
export function message(seq: number, events: readonly Packable[], timestamp = 1_000 + seq): Uint8Array[] {
  const number = Buffer.alloc(8);
  number.writeBigUInt64BE(BigInt(seq));
  return [Buffer.from("kv@host@model"), number, pack([timestamp, events, 0])];
}

export const END: Uint8Array[] = [new Uint8Array(), new Uint8Array(), new Uint8Array(8).fill(0xff), new Uint8Array()];
