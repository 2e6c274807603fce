import { expect, test } from "vitest";
import { freshCounters, type Tier, type TierName } from "../../gpu-backend/blocks/tier.ts";
import type { Engine } from "../../gpu-backend/engine/engine.ts";
import { tierFills } from "../../gpu-backend/tier-fills.ts";

const KV_TOKEN_BYTES = 100;
const card = { blockTokens: 32, kvTokens: 1_024 } as Engine["card"];
const exchanging = { card, kv: { exchange: { card: { kvTokenBytes: KV_TOKEN_BYTES } } } } as unknown as Pick<Engine, "card" | "kv">;
const tierOf = (name: TierName, usedBytes: number, budgetBytes: number): Tier =>
  ({ name, usedBytes, budgetBytes, counters: freshCounters() }) as unknown as Tier;

test("tiers are reported in tokens, the device first", () => {
  const tiers = [tierOf("host", 950, 10_000), tierOf("disk", 0, 1_000_000)];
  expect(tierFills(exchanging, 3, tiers)).toEqual([
    { tier: "device", usedTokens: 96, roomTokens: 1_024 },
    { tier: "host", usedTokens: 9, roomTokens: 100 },
    { tier: "disk", usedTokens: 0, roomTokens: 10_000 },
  ]);
});

test("a budget of more tokens than the wire counts is reported as the most that it counts", () => {
  expect(tierFills(exchanging, 0, [tierOf("store", 0, 2 ** 53)])[1]?.roomTokens).toBe(0xffffffff);
});

test("an engine whose blocks do not leave it has the device alone, and one that does not know its blocks has nothing", () => {
  const tiers = [tierOf("host", 950, 10_000)];
  expect(tierFills({ card, kv: { exchange: null, onResidency: () => undefined } }, 3, tiers).map(({ tier }) => tier)).toEqual(["device"]);
  expect(tierFills({ card, kv: null }, 3, tiers)).toEqual([]);
});
