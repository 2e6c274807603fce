/**
 * What a token costs to load from each tier, learnt from loads that happened, in milliseconds.
 *
 * A moving average (weight 1/4 for the newest) that fades back to the prior with a half-life of a minute: a tier that was slow once is
 * tried again, though nobody loads from a tier that is believed slow.
 */
import { TIER_BIT, type TierName } from "./tier.ts";

const NEWEST_WEIGHT = 0.25;
const HALF_LIFE_MS = 60_000;
/** Bytes a millisecond before anything was measured. Host: a checksum's speed; disk: a modest SSD's; store: half a Gbit/s. */
const PRIOR_BYTES_PER_MS: Readonly<Record<TierName, number>> = { host: 1_000_000, disk: 300_000, store: 60_000 };
const NAMES = Object.keys(PRIOR_BYTES_PER_MS) as TierName[];

interface Learnt {
  msPerToken: number;
  atMs: number;
}

export class LoadCost {
  readonly #now: () => number;
  readonly #kvTokenBytes: number;
  readonly #learnt = new Map<TierName | "engine", Learnt>();

  constructor(options: { now: () => number; kvTokenBytes: number }) {
    this.#now = options.now;
    this.#kvTokenBytes = options.kvTokenBytes;
  }

  /** From the tier into this process. */
  loadMsPerToken(tier: TierName): number {
    return this.#believed(tier, this.#kvTokenBytes / PRIOR_BYTES_PER_MS[tier]);
  }

  /** From this process into the engine's memory, as `learn("engine", …)` was told; 0 before. */
  get restoreMsPerToken(): number {
    return this.#believed("engine", 0);
  }

  /** Learns that loading `tokens` took this time. A failed load counts as the tokens it should have brought. */
  learn(what: TierName | "engine", tokens: number, elapsedMs: number): void {
    if (tokens <= 0 || !(elapsedMs >= 0)) return;
    const sample = elapsedMs / tokens;
    const before = this.#learnt.has(what) ? (what === "engine" ? this.restoreMsPerToken : this.loadMsPerToken(what)) : sample;
    this.#learnt.set(what, { msPerToken: before + NEWEST_WEIGHT * (sample - before), atMs: this.#now() });
  }

  /** Whether tokens that rest in the tiers of `bits` come sooner from the cheapest of these than from the engine's own prefill. */
  worthLoading(tokens: number, bits: number, prefillMsPerToken: number): boolean {
    const costs = NAMES.filter((tier) => (bits & TIER_BIT[tier]) !== 0).map((tier) => this.loadMsPerToken(tier));
    return tokens > 0 && costs.length > 0 && Math.min(...costs) + this.restoreMsPerToken < prefillMsPerToken;
  }

  #believed(what: TierName | "engine", prior: number): number {
    const learnt = this.#learnt.get(what);
    if (learnt === undefined) return prior;
    return prior + (learnt.msPerToken - prior) * 0.5 ** (Math.max(0, this.#now() - learnt.atMs) / HALF_LIFE_MS);
  }
}
