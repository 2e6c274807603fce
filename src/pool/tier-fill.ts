/** How full the tiers of each replica are, by its last heartbeat. People are shown it; no decision rests on it. */
import type { TIER } from "../residency/tiers.ts";

export interface TierFill {
  tier: keyof typeof TIER;
  usedTokens: number;
  roomTokens: number;
}

interface Reported {
  epoch: number;
  tiers: readonly TierFill[];
}

/** By slot, so at most 64. */
export class TierFills {
  readonly #reported = new Map<number, Reported>();

  set(slot: number, epoch: number, tiers: readonly TierFill[]): void {
    this.#reported.set(slot, { epoch, tiers });
  }

  /** Empty before the first heartbeat of this epoch. */
  of({ slot, epoch }: { slot: number; epoch: number }): readonly TierFill[] {
    const reported = this.#reported.get(slot);
    return reported?.epoch === epoch ? reported.tiers : [];
  }
}
