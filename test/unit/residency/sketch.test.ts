import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { buildSketch, MAX_SKETCH_BYTES, Sketch, type SketchSource, SKETCH_VERSION } from "../../../src/residency/sketch.ts";
import { createSegmentIndex } from "../../../src/residency/typed-array-index.ts";
import { TIER } from "../../../src/residency/tiers.ts";
import { hashes } from "./hashes.ts";

const HEADER_BYTES = 8;

const halvesOf = (chain: BigUint64Array): Int32Array => new Int32Array(chain.buffer, chain.byteOffset, chain.length * 2);

/** Each hash `copies` times, as if so many replicas held it. */
function sourceOf(held: BigUint64Array, copies = 1): SketchSource {
  const halves = halvesOf(held);
  return {
    scanHashes(visit) {
      for (let copy = 0; copy < copies; copy++) for (let at = 0; at < halves.length; at += 2) visit(halves[at + 1] ?? 0, halves[at] ?? 0);
    },
  };
}

function parsed(bytes: Uint8Array): Sketch {
  const sketch = Sketch.parse(bytes);
  if (sketch === null) throw new Error("not parsed");
  return sketch;
}

const sketchOf = (held: BigUint64Array, copies = 1): Sketch => parsed(buildSketch(sourceOf(held, copies)));

function share(sketch: Sketch, asked: BigUint64Array): number {
  const halves = halvesOf(asked);
  let sampled = 0;
  let affirmed = 0;
  for (let at = 0; at < halves.length; at += 2) {
    const [lo = 0, hi = 0] = [halves[at], halves[at + 1]];
    if (!sketch.samples(hi, lo)) continue;
    sampled++;
    if (sketch.has(hi, lo)) affirmed++;
  }
  return affirmed / sampled;
}

describe("a sketch", () => {
  it("never denies what is held, at any size", () => {
    const property = fc.property(fc.integer({ min: 1, max: 1_000_000 }), fc.integer({ min: 1, max: 40_000 }), (seed, count) => {
      const held = hashes(count, seed);
      expect(share(sketchOf(held), held)).toBe(1);
    });
    fc.assert(property, { seed: 6, numRuns: 25 });
  });

  it.each([
    [100, 0.02, 0],
    [10_000, 0.02, 0],
    [60_000, 0.04, 0],
    [120_000, 0.16, 0],
    [240_000, 0.4, 0],
    [400_000, 0.33, 1],
  ])("of %i segments affirms at most %f of strangers; level %i", (count, most, level) => {
    const sketch = sketchOf(hashes(count, 3));
    expect(sketch.level).toBe(level);
    expect(share(sketch, hashes(200_000, 4))).toBeLessThan(most);
    expect(sketch.segments / (count / 2 ** level)).toBeCloseTo(1, 1);
  });

  it("never outgrows its bound, and is small for few", () => {
    for (const count of [0, 1, 1_000, 131_000, 132_000, 1_000_000]) {
      expect(buildSketch(sourceOf(hashes(count, 5))).byteLength, String(count)).toBeLessThanOrEqual(MAX_SKETCH_BYTES);
    }
    expect(buildSketch(sourceOf(hashes(100, 5))).byteLength).toBeLessThanOrEqual(HEADER_BYTES + 128);
  });

  it("counts a segment once, however many replicas hold it", () => {
    const held = hashes(100_000, 7);
    const one = sketchOf(held);
    const many = sketchOf(held, 16);
    expect([one.level, many.level]).toEqual([0, 0]);
    expect(share(many, held)).toBe(1);
  });

  it("is the union of a pool's replicas", () => {
    const index = createSegmentIndex();
    const [mine, yours] = [hashes(300, 1), hashes(300, 2)];
    for (const [depth, hash] of mine.entries()) index.set(hash, 1, TIER.device, depth * 64);
    for (const [depth, hash] of yours.entries()) index.set(hash, 2, TIER.disk, depth * 64);
    const sketch = parsed(buildSketch(index));
    expect([share(sketch, mine), share(sketch, yours)]).toEqual([1, 1]);
  });
});

describe("overlap", () => {
  it("is exact where every segment is in the sample", () => {
    const chain = hashes(80, 9);
    const sketch = sketchOf(chain.slice(0, 30));
    expect(sketch.overlap(chain)).toEqual({ held: 30, missingFrom: 30 });
    expect(sketch.overlap(chain.slice(0, 30))).toEqual({ held: 30, missingFrom: 30 });
    expect(sketch.overlap(hashes(80, 10))).toEqual({ held: 0, missingFrom: 0 });
    expect(sketch.overlap(new BigUint64Array())).toEqual({ held: 0, missingFrom: 0 });
  });

  it("has the truth at or below where it says missing, and rarely far below what it says held, where it is coarse", () => {
    const held = hashes(600_000, 11);
    const coarse = sketchOf(held);
    expect(coarse.level).toBe(2);
    let over = 0;
    const property = fc.property(fc.integer({ min: 0, max: 599_000 }), fc.integer({ min: 0, max: 300 }), (from, truth) => {
      const chain = new BigUint64Array(300);
      chain.set(held.subarray(from, from + truth));
      chain.set(hashes(300 - truth, 100_000 + from), truth);
      const said = coarse.overlap(chain);
      expect(said.missingFrom).toBeGreaterThanOrEqual(truth);
      expect(said.held).toBeLessThanOrEqual(said.missingFrom);
      if (said.held > truth) over++;
    });
    fc.assert(property, { seed: 6, numRuns: 300 });
    // One in three strangers is affirmed.
    expect(over).toBeLessThan(150);
  });
});

describe("the encoding", () => {
  it("has a version, and what is not known is not read", () => {
    const bytes = buildSketch(sourceOf(hashes(50, 1)));
    expect(bytes[0]).toBe(SKETCH_VERSION);
    expect(Sketch.parse(bytes)).not.toBeNull();
    const changed = (at: number, value: number): Uint8Array => Uint8Array.from(bytes, (byte, index) => (index === at ? value : byte));
    for (const bad of [
      changed(0, 2),
      changed(1, 99),
      changed(2, 0),
      changed(2, 7),
      changed(3, 8),
      new Uint8Array(HEADER_BYTES + MAX_SKETCH_BYTES),
      bytes.slice(0, -1),
    ])
      expect(Sketch.parse(bad)).toBeNull();
    expect(Sketch.parse(new Uint8Array())).toBeNull();
  });

  it("is read at any offset of a larger buffer", () => {
    const held = hashes(50, 1);
    const bytes = buildSketch(sourceOf(held));
    const shifted = new Uint8Array(bytes.byteLength + 3);
    shifted.set(bytes, 3);
    expect(share(parsed(shifted.subarray(3)), held)).toBe(1);
  });
});
