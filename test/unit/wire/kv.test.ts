import { createHash } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Digest, type Frame, FrameReader, FrameWriter, KV_VERSION, mostFrameBytes } from "../../../src/wire/kv.ts";

const sha256: Digest = (parts) => createHash("sha256").update(Buffer.concat(parts)).digest();
const most = mostFrameBytes(32, 16);
const key = (letter: string) => letter.repeat(64);

const frames: Frame[] = [
  { type: "pulse", tokens: 40 },
  { type: "head", kvSpace: key("a"), promptTokens: 70, blockTokens: 32, tokenBytes: 16, first: 1, blocks: 2, cachedTokens: 32 },
  { type: "block", index: 1, key: key("b"), tokens: Uint32Array.from({ length: 32 }, (_, i) => i), data: new Uint8Array(512).fill(7) },
  { type: "pulse", tokens: 40 },
  { type: "block", index: 2, key: key("c"), tokens: new Uint32Array(32).fill(0xffff_ffff), data: new Uint8Array(512).fill(9) },
  { type: "tail", tokens: Uint32Array.of(1, 2, 3), data: new Uint8Array(48).fill(1) },
  {
    type: "first",
    token: 5,
    bytes: new Uint8Array([195, 169]),
    logprobs: { token: "é\ud800", bytes: [195, 169], logprob: -Infinity, top: [] },
  },
  { type: "end", blocks: 2, tail: true, dataBytes: 1072 },
];

function written(list: readonly Frame[], context = "c"): Uint8Array {
  const writer = new FrameWriter(sha256, context);
  return Buffer.concat(list.flatMap((frame) => writer.write(frame)));
}

function read(bytes: Uint8Array, sizes: readonly number[] = [], context = "c"): { frames: Frame[]; bad: string | null } {
  const reader = new FrameReader(sha256, context, most);
  const all: Frame[] = [];
  let at = 0;
  for (let i = 0; at < bytes.length; i++) {
    const size = sizes[i] ?? bytes.length;
    const result = reader.push(bytes.subarray(at, at + size));
    all.push(...result.frames);
    if (result.bad !== null) return { frames: all, bad: result.bad };
    at += size;
  }
  return { frames: all, bad: null };
}

const bytes = written(frames);
// Buffers and plain arrays of bytes are equal here.
const plain = (list: readonly Frame[]) =>
  list.map((frame) => JSON.stringify(frame, (_name, value: unknown) => (ArrayBuffer.isView(value) ? [...(value as Uint8Array)] : value)));

test("a reader gives what was written, in chunks of any size", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 200 })), (sizes) => {
      const result = read(bytes, sizes);
      expect(result.bad).toBeNull();
      expect(plain(result.frames)).toEqual(plain(frames));
    }),
    { numRuns: 50 },
  );
  const first = read(bytes).frames.find((frame) => frame.type === "first");
  expect(first?.type === "first" && first.logprobs?.logprob).toBe(-Infinity);
});

test("a flipped bit anywhere gives a true beginning and no more", () => {
  const whole = plain(frames);
  for (let at = 0; at < bytes.length; at++) {
    const damaged = Uint8Array.from(bytes);
    damaged[at] = (damaged[at] ?? 0) ^ (1 << (at % 8));
    const result = read(damaged, [100, 1, 300]);
    expect(result.frames.length).toBeLessThan(frames.length);
    expect(plain(result.frames)).toEqual(whole.slice(0, result.frames.length));
  }
});

test.each([
  ["lost", frames.toSpliced(4, 1)],
  ["twice", frames.toSpliced(2, 0, ...frames.slice(2, 3))],
  ["moved", [...frames.slice(0, 2), ...frames.slice(4, 5), ...frames.slice(2, 4), ...frames.slice(5)]],
])("a frame %s in transit is noticed", (_name, order) => {
  const writer = new FrameWriter(sha256, "c");
  const parts = new Map(frames.map((frame) => [frame, Buffer.concat(writer.write(frame))]));
  expect(read(Buffer.concat(order.map((frame) => parts.get(frame) ?? new Uint8Array(0)))).bad).toBe("a frame's check is wrong");
});

test("a stream for another request is noticed at its first frame", () => {
  expect(read(bytes, [], "d")).toEqual({ frames: [], bad: "a frame's check is wrong" });
});

test("a length is checked before memory is taken, and nothing follows the end", () => {
  for (const length of [0, 16, most + 1, 0xffff_ffff]) {
    const head = Buffer.alloc(4);
    head.writeUInt32LE(length);
    expect(read(head).bad).toBe("a frame's length is out of bounds");
  }
  expect(read(Buffer.concat([bytes, Buffer.of(0)])).bad).toBe("bytes after the end");
});

test("well-signed nonsense is bad, never an exception", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (content) => {
      const start = sha256([Buffer.from(JSON.stringify(["warmpath kv", KV_VERSION, "c"]))]).subarray(0, 16);
      const length = Buffer.alloc(4);
      length.writeUInt32LE(content.length + 16);
      const check = sha256([start, length, content]).subarray(0, 16);
      const result = read(Buffer.concat([length, content, check]));
      expect(result.bad === null || result.bad === "a frame has another shape").toBe(true);
    }),
    { numRuns: 2_000 },
  );
});
