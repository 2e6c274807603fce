import { expect, test } from "vitest";
import { BlocksAsk, decodeTokens, encodeTokens, PrefillAsk, streamContext } from "../../../src/wire/kv-ask.ts";

const hex = "a".repeat(64);

test("an ask is small and exact", () => {
  const ask = { kvSpace: hex, promptTokens: 9, tip: null, have: 0, api: "chat", historyBytes: 0 };
  expect(PrefillAsk.safeParse(ask).success).toBe(true);
  for (const wrong of [{ have: -1 }, { have: 0.5 }, { kvSpace: "A".repeat(64) }, { tip: "" }, { api: "x" }]) {
    expect(PrefillAsk.safeParse({ ...ask, ...wrong }).success).toBe(false);
  }
});

test("a pull names one block at least", () => {
  for (const [from, to, fits] of [
    [0, 0, false],
    [3, 2, false],
    [0, 1, true],
    [7, 16_384, true],
    [-1, 2, false],
    [0.5, 2, false],
  ] as const) {
    expect(BlocksAsk.safeParse({ kvSpace: hex, from, to }).success).toBe(fits);
  }
});

test("tokens come back as they were, wherever their bytes lie", () => {
  const tokens = Uint32Array.of(0, 1, 258, 0xffff_ffff);
  const bytes = encodeTokens(tokens);
  const shifted = new Uint8Array(bytes.length + 3).subarray(3);
  shifted.set(bytes);
  for (const given of [bytes, shifted]) expect(decodeTokens(given)).toEqual(tokens);
  expect(decodeTokens(bytes.subarray(1))).toBeNull();
});

test("two trials are two streams", () => expect(streamContext("t", 1)).not.toBe(streamContext("t", 2)));
