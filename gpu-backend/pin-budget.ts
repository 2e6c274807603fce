/** How much each salt has pinned: a bound, so that nobody's pins push out everybody else's prefixes. */
import type { EngineKey } from "./engine/engine.ts";

/** Salts remembered at once; beyond it pins of new ones wait until old ones run out. */
const MOST_SALTS = 4_096;

export class PinBudget {
  readonly #mostBlocks: number;
  readonly #bySalt = new Map<string, Map<EngineKey, number>>();

  constructor(mostBlocks: number) {
    this.#mostBlocks = mostBlocks;
  }

  /** The leading keys that fit what is left of the salt's share; counted until `untilMs`. A key that was pinned already costs nothing more. */
  take(salt: string, keys: readonly EngineKey[], untilMs: number, nowMs: number): EngineKey[] {
    this.#forgetPast(nowMs);
    let pinned = this.#bySalt.get(salt);
    if (pinned === undefined) {
      if (this.#bySalt.size >= MOST_SALTS) return [];
      this.#bySalt.set(salt, (pinned = new Map()));
    }
    const taken: EngineKey[] = [];
    for (const key of keys) {
      if (!pinned.has(key) && pinned.size >= this.#mostBlocks) break;
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
