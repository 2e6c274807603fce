/** What each tier of a replica holds and has room for, in tokens, as heartbeats report it. */
import type { TierFill } from "../src/pool/tier-fill.ts";
import type { Tier } from "./blocks/tier.ts";
import type { Engine } from "./engine/engine.ts";

/** As the wire's counts: 32 bits. */
const MAX_TOKENS = 0xffffffff;

/**
 * Empty where the engine does not know what it holds.
 *
 * @param deviceBlocks blocks that lie on the device.
 */
export function tierFills({ card, kv }: Pick<Engine, "card" | "kv">, deviceBlocks: number, tiers: readonly Tier[]): TierFill[] {
  if (kv === null) return [];
  const fills: TierFill[] = [{ tier: "device", usedTokens: deviceBlocks * card.blockTokens, roomTokens: card.kvTokens }];
  if (kv.exchange === null) return fills;
  const { kvTokenBytes } = kv.exchange.card;
  const tokensIn = (bytes: number): number => Math.min(MAX_TOKENS, Math.floor(bytes / kvTokenBytes));
  return [
    ...fills,
    ...tiers.map(({ name, usedBytes, budgetBytes }) => ({
      tier: name,
      usedTokens: tokensIn(usedBytes),
      roomTokens: tokensIn(budgetBytes),
    })),
  ];
}
