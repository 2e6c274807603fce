import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MAX_REPLICAS, type Overlap, type ResidencyIndex } from "../../src/residency/segment-index.ts";
import { TIER } from "../../src/residency/tiers.ts";
import { MapIndex } from "./map-index.ts";

type Op =
  | { kind: "set"; hash: bigint; replica: number; tierBits: number; tokens: number }
  | { kind: "remove"; hash: bigint; replica: number }
  | { kind: "forget"; replica: number }
  | { kind: "tick"; now: number }
  | { kind: "overlap"; chain: bigint[] };

/** Few hashes, many of them with one home slot (low 16 bits) at the part's end, so that runs collide and wrap; 0 is among them. */
const hash = fc.oneof(
  fc.bigInt({ min: 0n, max: 6n }),
  fc.bigInt({ min: 0n, max: 12n }).map((n) => (n << 60n) | 0xffffn),
  fc.bigInt({ min: 0n, max: 12n }).map((n) => (n << 33n) | 0xfffen),
);
const replica = fc.oneof(fc.integer({ min: 0, max: 2 }), fc.constant(63));
const tokens = fc.integer({ min: 0, max: 0xffffffff });
const op: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant("set" as const), hash, replica, tierBits: fc.integer({ min: 0, max: 15 }), tokens }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("remove" as const), hash, replica }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("forget" as const), replica }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("tick" as const), now: fc.nat() }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("overlap" as const), chain: fc.array(hash, { maxLength: 8 }) }) },
);

function plain(overlap: Overlap): number[][] {
  return [overlap.segments, overlap.tokens, overlap.deviceSegments, overlap.deviceTokens, overlap.memoryTokens].map((array) => [...array]);
}

function held(index: ResidencyIndex, slot: number): string[] {
  return [...index.entries(slot)].map((entry) => `${entry.hash} ${entry.tierBits} ${entry.tokens}`).toSorted((a, b) => a.localeCompare(b));
}

function apply(index: ResidencyIndex, step: Op): unknown {
  switch (step.kind) {
    case "set":
      return index.set(step.hash, step.replica, step.tierBits, step.tokens);
    case "remove":
      return index.remove(step.hash, step.replica);
    case "forget":
      return index.forgetReplica(step.replica);
    case "tick":
      return index.tick(step.now);
    case "overlap":
      return plain(index.overlap(BigUint64Array.from(step.chain)));
  }
}

/** What every ResidencyIndex must do. `create` makes an empty one with room for 10,000 entries. */
export function segmentIndexSuite(name: string, create: () => ResidencyIndex): void {
  describe(`segment index: ${name}`, () => {
    likeTheReference(create);
    byExample(create);
  });
}

function likeTheReference(create: () => ResidencyIndex): void {
  it("answers as the reference does, whatever happens to it", () => {
    fc.assert(
      fc.property(fc.array(op, { maxLength: 60 }), (ops) => {
        const index = create();
        const reference = new MapIndex();
        for (const step of ops) {
          expect(apply(index, step)).toEqual(apply(reference, step));
          if (step.kind !== "overlap" && step.kind !== "tick") expect(index.size).toBe(reference.size);
        }
        for (const slot of [0, 1, 2, 63]) {
          expect(held(index, slot)).toEqual(held(reference, slot));
          expect(index.count(slot)).toBe(reference.count(slot));
          for (const entry of reference.entries(slot)) expect(index.tiersOf(entry.hash, slot)).toBe(entry.tierBits);
        }
      }),
      { seed: 7, numRuns: 150 },
    );
  });
}

function byExample(create: () => ResidencyIndex): void {
  it("keeps every replica of one segment apart", () => {
    const index = create();
    const chain = BigUint64Array.from({ length: 20 }, (_, depth) => BigInt(depth + 1) * 0x9e3779b97f4a7c1n);
    for (let slot = 0; slot < MAX_REPLICAS; slot++)
      for (const [depth, segment] of chain.entries()) if (depth <= slot / 4) index.set(segment, slot, TIER.device, (depth + 1) * 10);
    const { segments, tokens: positions } = index.overlap(chain);
    for (let slot = 0; slot < MAX_REPLICAS; slot++) {
      expect(segments[slot]).toBe(Math.floor(slot / 4) + 1);
      expect(positions[slot]).toBe((Math.floor(slot / 4) + 1) * 10);
    }
  });

  it("counts no segment behind a gap, and the device apart from other tiers", () => {
    const index = create();
    const chain = BigUint64Array.of(11n, 12n, 13n);
    index.set(11n, 0, TIER.device | TIER.host, 5);
    index.set(12n, 0, TIER.disk, 9);
    index.set(13n, 0, TIER.device, 14);
    index.set(12n, 1, TIER.device, 9);
    const { segments, deviceSegments, tokens: positions, deviceTokens } = index.overlap(chain);
    expect([segments[0], positions[0], deviceSegments[0], deviceTokens[0]]).toEqual([3, 14, 1, 5]);
    expect([segments[1], positions[1]]).toEqual([0, 0]);
  });

  it("reads a chain that lies inside a larger buffer, and an empty one", () => {
    const index = create();
    index.set(12n, 3, TIER.device, 9);
    expect(index.overlap(BigUint64Array.of(7n, 12n).subarray(1)).segments[3]).toBe(1);
    expect(index.overlap(new BigUint64Array(0)).segments[3]).toBe(0);
  });

  it("never stores hash 0, and refuses a slot or tier out of range", () => {
    const index = create();
    index.set(0n, 0, TIER.device, 1);
    expect(index.size).toBe(0);
    for (const slot of [-1, 64]) expect(() => index.set(1n, slot, 1, 1)).toThrow(RangeError);
    expect(() => index.set(1n, 0, 16, 1)).toThrow(RangeError);
  });
}
