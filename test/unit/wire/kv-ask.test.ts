import { expect, test } from "vitest";
import { BlocksAsk, PrefillAsk, streamContext } from "../../../src/wire/kv-ask.ts";

const hex = "a".repeat(64);

test("an ask is small and exact", () => {
  const ask = { kvSpace: hex, promptTokens: 9, tip: null, have: 0, api: "chat", historyBytes: 0 };
  expect(PrefillAsk.safeParse(ask).success).toBe(true);
  for (const wrong of [{ have: -1 }, { have: 0.5 }, { kvSpace: "A".repeat(64) }, { tip: "" }, { api: "x" }]) {
    expect(PrefillAsk.safeParse({ ...ask, ...wrong }).success).toBe(false);
  }
});

test("a pull names one block at least, and no more than a context has", () => {
  for (const [count, fits] of [
    [0, false],
    [1, true],
    [16_384, true],
    [16_385, false],
  ] as const) {
    expect(BlocksAsk.safeParse({ kvSpace: hex, keys: Array.from({ length: count }, () => hex) }).success).toBe(fits);
  }
});

test("two trials are two streams", () => expect(streamContext("t", 1)).not.toBe(streamContext("t", 2)));
