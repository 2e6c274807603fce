import { describe, expect, it } from "vitest";
import { joinKvBlocks } from "../../gpu-backend/engine/llama-cpp/kv-image.ts";
import { cutKvState, parseKvState } from "../../gpu-backend/engine/llama-cpp/kv-state.ts";
import type { KvBlock, KvLayout, KvState } from "../../gpu-backend/engine/llama-cpp/kv-state.ts";

const rowMajor: KvLayout = {
  transposed: false,
  layers: 2,
  keyType: 1,
  keyRowBytes: 4,
  valueType: 1,
  valueRowBytes: 6,
  valueElementBytes: 1,
};
const transposed: KvLayout = { ...rowMajor, transposed: true, valueElementBytes: 2 };

function block(layout: KvLayout, cells: number): KvBlock {
  const bytes = (length: number, start: number) => Buffer.from(Array.from({ length }, (_, i) => (start + i * 7) % 256));
  const layers = Array.from({ length: layout.layers }, (_, layer) => layer);
  return {
    cells,
    keys: layers.map((layer) => bytes(cells * layout.keyRowBytes, layer)),
    values: layers.map((layer) => bytes(cells * layout.valueRowBytes, 100 + layer)),
  };
}

function parsed(bytes: Buffer): KvState {
  const result = parseKvState(bytes);
  if (result.type === "invalid") throw new Error(result.message);
  return result.state;
}

describe.each([
  ["row-major", rowMajor],
  ["transposed", transposed],
])("sequence state, %s values", (_, layout) => {
  const tokens = [5, 6, 7, 8, 9];
  const image = joinKvBlocks(layout, tokens, [block(layout, 5)], 3);

  it("reads what it writes", () => {
    const state = parsed(image);
    expect(state).toMatchObject({ layout, cells: 5, streams: 3 });
    expect([...state.tokens]).toEqual(tokens);
    expect(state.values).toEqual(block(layout, 5).values);
  });

  it("joins the cuts of a state to the same state", () => {
    const state = parsed(image);
    const cuts = [cutKvState(state, 0, 2), cutKvState(state, 2, 3), cutKvState(state, 3, 5)];
    expect(joinKvBlocks(layout, tokens, cuts, 3).equals(image)).toBe(true);
  });

  it("refuses every truncation and trailing bytes", () => {
    for (let length = 0; length < image.length; length++) expect(parseKvState(image.subarray(0, length)).type).toBe("invalid");
    expect(parseKvState(Buffer.concat([image, Buffer.alloc(1)])).type).toBe("invalid");
  });

  it("survives any corrupt word without allocating for it", () => {
    for (let offset = 0; offset + 4 <= image.length; offset += 4) {
      const corrupt = Buffer.from(image);
      corrupt.writeUInt32LE(0xfffffff0, offset);
      expect(["parsed", "invalid"]).toContain(parseKvState(corrupt).type);
    }
  });

  it("refuses a wrong magic, version, position or count", () => {
    for (const offset of [0, 4, 8, 12 + 5 * 4, 12 + 5 * 4 + 4, 12 + 5 * 4 + 8]) {
      const corrupt = Buffer.from(image);
      corrupt.writeUInt32LE(77, offset);
      expect(parseKvState(corrupt).type).toBe("invalid");
    }
  });

  it("refuses blocks that do not fit", () => {
    expect(() => joinKvBlocks(layout, [1, 2], [block(layout, 3)], 1)).toThrow(RangeError);
    expect(() => joinKvBlocks({ ...layout, layers: 3 }, [1, 2, 3], [block(layout, 3)], 1)).toThrow(RangeError);
    expect(() => cutKvState(parsed(image), 3, 6)).toThrow(RangeError);
  });
});
