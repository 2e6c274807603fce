/** Damage that knows nothing of the body: to its bytes, and to what the headers say of it. */
import { deflateSync, gzipSync } from "node:zlib";
import type { Random } from "./random.ts";

const INVALID_UTF8: readonly (readonly number[])[] = [
  [0xff],
  [0xc0, 0x80],
  [0x80],
  [0xed, 0xa0, 0x80],
  [0xf5, 0x80, 0x80, 0x80],
  [0xe2, 0x82],
];

function spliced(bytes: Buffer, at: number, drop: number, put: Uint8Array): Buffer {
  return Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + drop)]);
}

/** Two slices that do not overlap change places. */
function swapped(bytes: Buffer, random: Random): Buffer {
  const [a, b, c, d] = random.list(4, 4, () => random.below(bytes.length + 1)).toSorted((one, other) => one - other);
  return Buffer.concat([bytes.subarray(0, a), bytes.subarray(c, d), bytes.subarray(b, c), bytes.subarray(a, b), bytes.subarray(d)]);
}

const KINDS = {
  flip(bytes: Buffer, random: Random) {
    const out = Buffer.from(bytes);
    for (let times = random.int(1, 4); times > 0; times--) {
      const at = random.below(out.length);
      out[at] = (out[at] ?? 0) ^ (1 << random.below(8));
    }
    return out;
  },
  overwrite(bytes: Buffer, random: Random) {
    const out = Buffer.from(bytes);
    for (let times = random.int(1, 4); times > 0; times--) out[random.below(out.length)] = random.below(256);
    return out;
  },
  truncate: (bytes: Buffer, random: Random) => bytes.subarray(0, random.below(bytes.length)),
  insert: (bytes: Buffer, random: Random) =>
    spliced(
      bytes,
      random.below(bytes.length),
      0,
      Uint8Array.from(random.list(1, 8, () => (random.chance(50) ? random.below(256) : random.pick([0x22, 0x2c, 0x5b, 0x7b, 0x5c, 0x7d])))),
    ),
  cut: (bytes: Buffer, random: Random) => spliced(bytes, random.below(bytes.length), random.int(1, 20), new Uint8Array()),
  repeat(bytes: Buffer, random: Random) {
    const at = random.below(bytes.length);
    return spliced(bytes, at, 0, bytes.subarray(at, at + random.int(1, 60)));
  },
  swap: swapped,
  noise: (_: Buffer, random: Random) => Buffer.from(random.list(0, 200, () => random.below(256))),
} as const;

export function damagedBytes(bytes: Buffer, random: Random): { bytes: Buffer; what: string } {
  const what = random.pick(Object.keys(KINDS) as (keyof typeof KINDS)[]);
  return { bytes: KINDS[what](bytes, random), what };
}

export interface Sent {
  bytes: Buffer;
  /** Beside the key; content-type is JSON when not named here. */
  headers: Record<string, string>;
  what: string;
  status: number;
}

function invalidUtf8(bytes: Buffer, random: Random): Sent {
  // Inside the first string.
  const at = bytes.indexOf('"') + 1;
  return { bytes: spliced(bytes, at, 0, Uint8Array.from(random.pick(INVALID_UTF8))), headers: {}, what: "invalid UTF-8", status: 400 };
}

/** What is around the body changes; the answer's status is known. */
export function transported(bytes: Buffer, random: Random): Sent {
  const gzip = (): Buffer => gzipSync(bytes);
  const as = (coding: string): Record<string, string> => ({ "content-encoding": coding });
  const cases: readonly (() => Sent)[] = [
    () => ({ bytes: gzip(), headers: as(random.pick(["gzip", "x-gzip", "GZIP"])), what: "gzip", status: 200 }),
    () => ({ bytes: deflateSync(bytes), headers: as("deflate"), what: "deflate", status: 200 }),
    () => ({ bytes: gzip(), headers: {}, what: "gzip unsaid", status: 400 }),
    () => ({ bytes, headers: as(random.pick(["gzip", "deflate"])), what: "no gzip", status: 400 }),
    () => ({ bytes: gzip().subarray(0, random.int(1, 60)), headers: as("gzip"), what: "gzip cut", status: 400 }),
    () => ({ bytes, headers: as(random.pick(["br", "zstd", "gzip, gzip", "nonsense"])), what: "coding not taken", status: 415 }),
    () => ({ bytes, headers: as("identity"), what: "identity", status: 200 }),
    () => ({ bytes: Buffer.concat([Buffer.from("\ufeff"), bytes]), headers: {}, what: "BOM", status: 200 }),
    () => ({ bytes: Buffer.concat([Buffer.from(" \r\n\t"), bytes, Buffer.from("\n\n")]), headers: {}, what: "white space", status: 200 }),
    () => ({ bytes: Buffer.from(bytes.toString(), "utf16le"), headers: {}, what: "UTF-16", status: 400 }),
    () => ({ bytes: Buffer.alloc(0), headers: {}, what: "empty", status: 400 }),
    () => ({ bytes: Buffer.from(random.pick(["[]", "null", "5", '"x"', "true", "{}"])), headers: {}, what: "no request", status: 400 }),
    () => invalidUtf8(bytes, random),
    () => {
      const type = random.pick([
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "image/png",
        "json",
        "application/xml",
      ]);
      return { bytes, headers: { "content-type": type }, what: "type not taken", status: 415 };
    },
    () => {
      const type = random.pick(["text/plain", "application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.api+json"]);
      return { bytes, headers: { "content-type": type }, what: "type taken", status: 200 };
    },
  ];
  return random.pick(cases)();
}
