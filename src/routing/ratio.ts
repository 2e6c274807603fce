/** Quotients learnt from reports. */
import { MAX_REPLICAS } from "../residency/segment-index.ts";

/** Share of the past that a new report leaves. */
const KEEP = 0.9;
/** One report may say at most so many times more or less than what was known. */
const OUTLIER = 4;
/** Of the way back to the prior, what one fading goes. */
const FADE = 0.05;

/** A quotient of two decaying sums: large reports weigh more, as they matter more; old ones fade. */
export class DecayingRatio {
  #top = 0;
  #bottom = 0;

  get value(): number | null {
    return this.#bottom > 0 ? this.#top / this.#bottom : null;
  }

  /** `expected` bounds what one report may say; null: believed as it is. Reports that are not positive and finite are ignored. */
  add(top: number, bottom: number, expected: number | null): void {
    if (!(top > 0 && bottom > 0 && Number.isFinite(top) && Number.isFinite(bottom))) return;
    const bounded = expected === null ? top : Math.min(Math.max(top, (expected * bottom) / OUTLIER), expected * bottom * OUTLIER);
    this.#top = this.#top * KEEP + bounded;
    this.#bottom = this.#bottom * KEEP + bottom;
  }

  /** `share` of the way down to the prior; nothing where it lies above. */
  fade(prior: number, share = FADE): void {
    this.#top -= share * Math.max(0, this.#top - prior * this.#bottom);
  }
}

/** One ratio per replica, and the pool's for those that have not reported yet. */
export class ReplicaRatios {
  readonly #own: DecayingRatio[] = Array.from({ length: MAX_REPLICAS }, () => new DecayingRatio());
  readonly #pool = new DecayingRatio();

  add(replica: number, top: number, bottom: number): void {
    const own = this.#own[replica];
    if (own === undefined) throw new RangeError(`replica slot ${replica} is not 0 … ${MAX_REPLICAS - 1}`);
    const pool = this.#pool.value;
    own.add(top, bottom, own.value ?? pool);
    this.#pool.add(top, bottom, pool);
  }

  /** Fades what `of` believes: its own, else the pool's. */
  fade(replica: number, prior: number): void {
    const own = this.#own[replica];
    (own === undefined || own.value === null ? this.#pool : own).fade(prior);
  }

  /** `share` of the way down to what the pool says. */
  fadeToPool(replica: number, share: number): void {
    const pool = this.#pool.value;
    if (pool !== null) this.#own[replica]?.fade(pool, share);
  }

  forget(replica: number): void {
    if (replica in this.#own) this.#own[replica] = new DecayingRatio();
  }

  of(replica: number): number | null {
    return this.#own[replica]?.value ?? this.#pool.value;
  }
}
