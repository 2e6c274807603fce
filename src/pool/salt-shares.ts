/** Who was served how much lately, so that one tenant's burst does not hold up the others. */
import { BoundedMap } from "../bounded-map.ts";

/** What was served counts half after this. */
const HALF_LIFE_MS = 30_000;
/** Of a service beyond the others', so much counts against who waits, ms per ms. */
const EXCESS_WEIGHT = 1;
/** No more than this: whoever waits overtakes it by waiting (waiting-line.ts). */
const MOST_SETBACK_MS = 2_000;
const MAX_SALTS = 1_024;

interface Served {
  ms: number;
  atMs: number;
}

export class SaltShares {
  /** Served longest ago first. */
  readonly #served = new BoundedMap<string, Served>(MAX_SALTS);

  /** `workMs`: predicted. */
  serve(salt: string, workMs: number, nowMs: number): void {
    const ms = this.servedMs(salt, nowMs) + Math.max(0, workMs);
    this.#served.set(salt, { ms, atMs: nowMs });
  }

  servedMs(salt: string, nowMs: number): number {
    const served = this.#served.get(salt);
    return served === undefined ? 0 : served.ms * 2 ** (-Math.max(0, nowMs - served.atMs) / HALF_LIFE_MS);
  }

  /** How far each of those who wait steps back: by what it was served beyond their mean, bounded; nobody while all are one tenant's. */
  setbacks(salts: Iterable<string>, nowMs: number): Map<string, number> {
    const setbacks = new Map<string, number>();
    let sum = 0;
    for (const salt of salts) {
      if (setbacks.has(salt)) continue;
      const ms = this.servedMs(salt, nowMs);
      setbacks.set(salt, ms);
      sum += ms;
    }
    const mean = sum / Math.max(1, setbacks.size);
    for (const [salt, ms] of setbacks) setbacks.set(salt, Math.min(MOST_SETBACK_MS, Math.max(0, EXCESS_WEIGHT * (ms - mean))));
    return setbacks;
  }
}
