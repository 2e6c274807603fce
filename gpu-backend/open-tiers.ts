/** The tiers that a replica's configuration names, as one stack. */
import { openDiskTier } from "./blocks/disk-tier.ts";
import { HostTier } from "./blocks/host-tier.ts";
import { createStoreTier } from "./blocks/store-tier.ts";
import { createTierStack, type TierStack } from "./blocks/tier-stack.ts";
import type { Tier } from "./blocks/tier.ts";
import type { TierConfig } from "./config.ts";
import type { EngineKey, KvCard } from "./engine/engine.ts";
import { steadyNowMs } from "./steady-clock.ts";
import { logLine } from "./operator-log.ts";

/** Loads are timed by it, and until when peers want their blocks is said in it. */
const now = steadyNowMs;

export interface OpenedTiers {
  stack: TierStack;
  /** Resolves when it is known what lies in the store; false: it did not answer, and is asked again later. True at once where there is none. */
  listed: Promise<boolean>;
}

/** Null: none is configured. A disk that can't be used is said and left out; a store that is down is asked again later. */
export async function openTiers(
  config: TierConfig,
  card: KvCard,
  onChange: (key: EngineKey, tierBits: number) => void,
): Promise<OpenedTiers | null> {
  const { kvSpace, kvTokenBytes, kvNumbers } = card;
  const tiers: Tier[] = [];
  let listed = Promise.resolve(true);
  if (config.hostBytes > 0) tiers.push(new HostTier({ budgetBytes: config.hostBytes, now }));
  if (config.disk !== null) {
    try {
      tiers.push(await openDiskTier({ ...config.disk, now, kvSpace }));
    } catch (error) {
      logLine(`The disk tier is not used: ${error instanceof Error ? error.message : "unknown reason"}`);
    }
  }
  if (config.store !== null) {
    const store = createStoreTier({ ...config.store, now, kvSpace });
    // What lies there is learnt beside the start; until then it is unknown.
    listed = store.refresh();
    tiers.push(store);
  }
  return tiers.length === 0 ? null : { stack: createTierStack({ tiers, now, kvSpace, kvTokenBytes, kvNumbers, onChange }), listed };
}
