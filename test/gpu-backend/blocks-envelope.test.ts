import { expect, it } from "vitest";
import { openBlock, readHeader, sealBlock, sealedBytes } from "../../gpu-backend/blocks/block.ts";
import { blockOf, card, hashOf, keyOf, KV_TOKEN_BYTES, sealedOf } from "../conformance/tier-blocks.ts";

const MUTATIONS = process.env["WARMPATH_FULL"] === "1" ? 10_000 : 500;
const TOKENS = 4;
const fields = {
  magic: [0, 4],
  version: [4, 8],
  kvSpace: [8, 40],
  key: [40, 72],
  parent: [72, 104],
  tokenCount: [104, 108],
  dataLength: [108, 112],
  tokens: [112, 112 + 4 * TOKENS],
  data: [112 + 4 * TOKENS, 112 + TOKENS * (4 + KV_TOKEN_BYTES)],
  checksum: [112 + TOKENS * (4 + KV_TOKEN_BYTES), sealedBytes(TOKENS, KV_TOKEN_BYTES)],
} as const;

const block = blockOf("b", "a", TOKENS);
const sealed = sealBlock(block, { ...card, parent: block.parent });
const expected = { ...card, key: block.key };

function why(bytes: Uint8Array, more: { tokens?: Uint32Array; kvSpace?: string; kvTokenBytes?: number } = {}): string {
  const opened = openBlock(bytes, { ...expected, ...more });
  return opened.ok ? "opened" : opened.why;
}

it("opens as what was sealed, wherever the bytes lie", () => {
  const shifted = new Uint8Array(sealed.bytes.length + 3).subarray(3);
  shifted.set(sealed.bytes);
  for (const bytes of [sealed.bytes, shifted]) {
    const opened = openBlock(bytes, { ...expected, tokens: block.tokens });
    expect(opened).toEqual({ ok: true, parent: keyOf("a"), block: { key: block.key, tokens: block.tokens, data: block.data } });
  }
  expect(openBlock(sealedOf("r").bytes, { ...card, key: keyOf("r") })).toMatchObject({ ok: true, parent: null });
  expect(Object.values(fields).at(-1)?.[1]).toBe(sealed.bytes.length);
});

it("says why it refuses", () => {
  expect(why(sealed.bytes.subarray(0, 111))).toBe("length");
  expect(why(sealed.bytes.subarray(0, -1))).toBe("length");
  expect(why(Buffer.concat([sealed.bytes, Buffer.from([0])]))).toBe("length");
  expect(why(Buffer.alloc(200, "<html>"))).toBe("magic");
  expect(why(sealed.bytes, { kvSpace: hashOf("other") })).toBe("kv_space");
  expect(why(sealed.bytes, { kvTokenBytes: KV_TOKEN_BYTES + 1 })).toBe("size");
  expect(why(sealedOf("c").bytes)).toBe("key");
  expect(why(sealed.bytes, { tokens: Uint32Array.of(1, 2, 3, 4) })).toBe("tokens");
  expect(why(sealed.bytes, { tokens: block.tokens.subarray(1) })).toBe("tokens");
});

it("bounds what a header claims before anything is made of it", () => {
  for (const [tokenCount, dataLength] of [
    [0, 0],
    [0xffffffff, 0xffffffff],
    [0x10001, 0x10001],
    [4, 0xfffffffd],
  ] as const) {
    const bytes = Uint8Array.from(sealed.bytes);
    new DataView(bytes.buffer).setUint32(104, tokenCount, true);
    new DataView(bytes.buffer).setUint32(108, dataLength, true);
    expect(readHeader(bytes)).toEqual({ ok: false, why: "size" });
    expect(why(bytes)).toBe("size");
  }
});

it("does not seal what contradicts itself", () => {
  const seal = (more: object, parent: string | null = null) =>
    sealBlock({ ...block, ...more }, { ...card, parent: parent as typeof block.key | null });
  expect(() => seal({ data: block.data.subarray(1) })).toThrow(RangeError);
  expect(() => seal({ tokens: new Uint32Array(0), data: new Uint8Array(0) })).toThrow(RangeError);
  expect(() => seal({ key: "00" })).toThrow(TypeError);
  expect(() => seal({}, "zz")).toThrow(TypeError);
});

it(`${MUTATIONS} mutations over all fields: never opens as anything else`, () => {
  let seed = 12_345;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  const names = Object.keys(fields) as (keyof typeof fields)[];
  const reasons = new Set<string>();
  for (let round = 0; round < MUTATIONS; round++) {
    let bytes = Uint8Array.from(sealed.bytes);
    const [from, to] = fields[names[round % names.length] ?? "magic"];
    const at = from + random(to - from);
    const kind = Math.floor(round / names.length) % 5;
    if (kind <= 1) bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8));
    if (kind === 2) bytes[at] = (bytes[at] ?? 0) + 1 + random(255);
    if (kind === 3) bytes = bytes.slice(0, at);
    if (kind === 4) bytes = Uint8Array.from([...bytes.subarray(0, at), random(256), ...bytes.subarray(at)]);
    const fault = why(bytes);
    reasons.add(fault);
    expect(fault, `${round}: byte ${at}`).not.toBe("opened");
  }
  expect([...reasons].toSorted()).toEqual(["checksum", "key", "kv_space", "length", "magic", "size", "version"]);
});
