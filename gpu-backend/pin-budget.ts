/** Bounds on what each salt and all salts together have pinned, so that unpinned prefixes keep room. */
import type { EngineKey } from "./engine/engine.ts";

/** Salts remembered at once; beyond it pins of new ones wait until old ones run out. */
const MAX_SALTS = 4_096;

interface PinLimits {
  /** Blocks of one salt. */
  ofOne: number;
  /** Of all salts. */
  ofAll: number;
}

export class PinBudget {
  readonly #limits: PinLimits;
  readonly #bySalt = new Map<string, Map<EngineKey, number>>();

  constructor(limits: PinLimits) {
    this.#limits = limits;
  }

  get blocks(): number {
    return [...this.#bySalt.values()].reduce((sum, pinned) => sum + pinned.size, 0);
  }

  /** The leading keys that fit what is left of the salt's share and of everybody's; counted until `untilMs`. A key that was pinned already costs nothing more. */
  take(salt: string, keys: readonly EngineKey[], untilMs: number, nowMs: number): EngineKey[] {
    this.#forgetPast(nowMs);
    let pinned = this.#bySalt.get(salt);
    if (pinned === undefined) {
      if (this.#bySalt.size >= MAX_SALTS) return [];
      this.#bySalt.set(salt, (pinned = new Map()));
    }
    const taken: EngineKey[] = [];
    let left = Math.min(this.#limits.ofOne - pinned.size, this.#limits.ofAll - this.blocks);
    for (const key of keys) {
      if (!pinned.has(key) && left-- <= 0) break;
      pinned.set(key, Math.max(untilMs, pinned.get(key) ?? 0));
      taken.push(key);
    }
    return taken;
  }

  #forgetPast(nowMs: number): void {
    for (const [salt, pinned] of this.#bySalt) {
      for (const [key, untilMs] of pinned) if (untilMs <= nowMs) pinned.delete(key);
      if (pinned.size === 0) this.#bySalt.delete(salt);
    }
  }
}
