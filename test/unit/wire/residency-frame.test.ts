import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeResidencyFrame, encodeResidencyFrame } from "../../../src/wire/residency-frame.ts";

const entry = fc.record({
  hash: fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }),
  tokens: fc.nat(0xffffffff),
  tierBits: fc.nat(15),
});
const frame = fc.record({
  kind: fc.constantFrom("delta" as const, "full" as const),
  first: fc.boolean(),
  last: fc.boolean(),
  seq: fc.nat(0xffffffff),
  entries: fc.array(entry, { maxLength: 40 }),
});

test("what is encoded is decoded", () => {
  fc.assert(
    fc.property(frame, (value) => {
      expect(decodeResidencyFrame(encodeResidencyFrame(value).buffer)).toEqual(value);
    }),
  );
});

test("a frame of any other length is refused", () => {
  fc.assert(
    fc.property(frame, fc.nat(200), (value, length) => {
      const bytes = encodeResidencyFrame(value);
      fc.pre(length !== bytes.length);
      const other = new Uint8Array(length);
      other.set(bytes.subarray(0, length));
      expect(decodeResidencyFrame(other.buffer)).toBeNull();
    }),
  );
});

test("rubbish never throws", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void decodeResidencyFrame(Uint8Array.from(bytes).buffer)));
});
