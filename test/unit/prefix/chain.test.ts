import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import xxhash from "xxhash-wasm";
import type { Hash64 } from "../../../src/prefix/chain.ts";
import { chainOf, chainRoot } from "../../../src/prefix/chain.ts";
import { PromptEncoder } from "../../../src/prefix/prompt-encoder.ts";
import type { ChatPrompt } from "../../../src/prefix/prompt.ts";
import type { HashSpec } from "../../../src/prefix/segment.ts";
import { DEFAULT_SCHEDULE, MAX_SEGMENTS, scheduleProblem, segmentEnds, specFingerprint } from "../../../src/prefix/segment.ts";

const xxh = await xxhash();
const hash64: Hash64 = (bytes, seed) => xxh.h64Raw(bytes, seed);
const spec: HashSpec = { version: 1, schedule: DEFAULT_SCHEDULE, order: "system-then-tools" };

interface Vector {
  name: string;
  spec: HashSpec;
  fingerprint: string;
  model: string;
  adapter: string | null;
  salt: string;
  prompt: ChatPrompt;
  canonicalBytes: number;
  canonicalStartHex: string;
  root: string;
  ends: number[];
  hashes: string[];
}
const path = new URL("../../vectors/hash-chain.json", import.meta.url);
const { vectors } = JSON.parse(readFileSync(path, "utf8")) as { vectors: Vector[] };

test.each(vectors)("golden vector: $name", (vector) => {
  const bytes = new PromptEncoder(hash64).encode(vector.prompt, vector.spec.order);
  expect(specFingerprint(vector.spec)).toBe(vector.fingerprint);
  expect(bytes.length).toBe(vector.canonicalBytes);
  expect(Buffer.from(bytes.subarray(0, 64)).toString("hex")).toBe(vector.canonicalStartHex);
  const root = chainRoot(hash64, vector);
  const chain = chainOf(hash64, root, bytes, vector.spec.schedule);
  expect(root.toString(16).padStart(16, "0")).toBe(vector.root);
  expect([...chain.ends]).toEqual(vector.ends);
  expect(Array.from(chain.hashes, (hash) => hash.toString(16).padStart(16, "0"))).toEqual(vector.hashes);
});

test("the default schedule: about 115 segments for 220 KB, about 310 for a megabyte", () => {
  const ends = [...segmentEnds(DEFAULT_SCHEDULE, 220_000)];
  expect(ends.slice(0, 2)).toEqual([256, 512]);
  expect(ends.length).toBe(16 + 60 + 37);
  expect([...segmentEnds(DEFAULT_SCHEDULE, 255)]).toEqual([]);
  expect([...segmentEnds(DEFAULT_SCHEDULE, 1_048_576)].length).toBe(16 + 60 + 240);
});

test("a chain has a bound", () => {
  expect([...segmentEnds([{ untilBytes: null, segmentBytes: 32 }], 1_000_000)].length).toBe(MAX_SEGMENTS);
});

test("a segment has the size of the step in which it starts", () => {
  const schedule = [
    { untilBytes: 100, segmentBytes: 64 },
    { untilBytes: null, segmentBytes: 200 },
  ];
  expect([...segmentEnds(schedule, 600)]).toEqual([64, 128, 328, 528]);
});

test("the root depends on spec, model, adapter and salt, and on which is which", () => {
  const scopes = [
    { spec, model: "a", adapter: null, salt: "b" },
    { spec, model: "b", adapter: null, salt: "a" },
    { spec, model: "a", adapter: "b", salt: "b" },
    { spec, model: "a", adapter: null, salt: "c" },
    { spec: { ...spec, order: "tools-first" as const }, model: "a", adapter: null, salt: "b" },
    { spec: { ...spec, schedule: [{ untilBytes: null, segmentBytes: 256 }] }, model: "a", adapter: null, salt: "b" },
  ];
  expect(new Set(scopes.map((scope) => chainRoot(hash64, scope))).size).toBe(scopes.length);
});

test("0 is never a hash: it becomes 1, as a seed too", () => {
  const seeds: bigint[] = [];
  const zero: Hash64 = (_, seed) => (seeds.push(seed), 0n);
  expect(chainRoot(zero, { spec, model: "m", adapter: null, salt: "s" })).toBe(1n);
  expect([...chainOf(zero, 7n, new Uint8Array(600), DEFAULT_SCHEDULE).hashes]).toEqual([1n, 1n]);
  expect(seeds).toEqual([0n, 7n, 1n]);
});

test.each([
  [DEFAULT_SCHEDULE, null],
  [[], /1 to 16/],
  [[{ untilBytes: 4, segmentBytes: 256 }], /null in the last/],
  [[{ untilBytes: null, segmentBytes: 1 }], /at least 32/],
  [
    [
      { untilBytes: 512, segmentBytes: 256 },
      { untilBytes: 512, segmentBytes: 256 },
      { untilBytes: null, segmentBytes: 256 },
    ],
    /above 512/,
  ],
])("scheduleProblem %#", (schedule, problem) => {
  const found = scheduleProblem(schedule);
  if (problem === null) expect(found).toBeNull();
  else expect(found).toMatch(problem);
});
