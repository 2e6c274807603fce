/** Quotients learnt from reports. */
import { MAX_REPLICAS } from "../residency/segment-index.ts";
import { TrackingSignal } from "./tracking-signal.ts";

/** What a report counts once much is known; and where reports have been off in one direction of late. */
const GAIN = 0.1;
const GAIN_SURPRISED = 0.3;
/** The prior counts as so many reports. */
const PRIOR_REPORTS = 0.5;
/** One report may say at most so many times more or less than what was known. */
const MOST_LOG = Math.log(4);
/** Quotients outside are cut to it. */
const LEAST = 1e-9;
const MOST = 1e9;
/** A report's amount counts at least this, so that one of next to nothing still says something. */
const LEAST_SIZE = 1e-3;
/** Of the way back to the prior, what one fading goes. */
const FADE = 0.05;

/** As a checkpoint keeps it. */
export interface SavedRatio {
  value: number;
  reports: number;
  size: number;
}

/**
 * A mean of late, from a prior on: no report moves it more than fourfold, and one of small amounts says less than one of large ones. Geometric, as
 * noise of times is a factor; or arithmetic, where what counts is the sum.
 */
export class DecayingRatio {
  readonly #arithmetic: boolean;
  #value: number | null = null;
  #reports = 0;
  /** Mean amount of reports. */
  #size = 0;
  readonly #signal = new TrackingSignal();

  constructor(mean: "geometric" | "arithmetic" = "geometric") {
    this.#arithmetic = mean === "arithmetic";
  }

  get value(): number | null {
    return this.#value;
  }

  /** Reports that are not positive and finite are ignored. `prior`: what is believed without any. */
  add(top: number, bottom: number, prior: number): void {
    if (!(top > 0 && bottom > 0 && Number.isFinite(top) && Number.isFinite(bottom))) return;
    const before = this.#value ?? prior;
    const off = Math.log(Math.min(MOST, Math.max(LEAST, top / bottom)) / before);
    const size = Math.min(MOST, Math.max(LEAST_SIZE, bottom));
    this.#size = this.#reports === 0 ? size : this.#size + GAIN * (size - this.#size);
    const trust = Math.min(1, (2 * size) / (size + this.#size));
    const least = this.#signal.follow(off, trust) ? GAIN_SURPRISED : GAIN;
    this.#reports++;
    const gain = trust * Math.max(least, 1 / (this.#reports + PRIOR_REPORTS));
    const cut = Math.min(MOST_LOG, Math.max(-MOST_LOG, off));
    this.#value = before * (this.#arithmetic ? 1 + gain * (Math.exp(cut) - 1) : Math.exp(gain * cut));
  }

  /** `share` of the way down to the prior; nothing where it lies above. */
  fade(prior: number, share = FADE): void {
    if (this.#value !== null && this.#value > prior) this.#value *= (prior / this.#value) ** share;
  }

  save(): SavedRatio | null {
    return this.#value === null ? null : { value: this.#value, reports: this.#reports, size: this.#size };
  }

  restore({ value, reports, size }: SavedRatio): void {
    this.#value = value;
    this.#reports = reports;
    this.#size = size;
  }
}

/** As a checkpoint keeps it; own ones by slot. */
export interface SavedRatios {
  pool: SavedRatio | null;
  own: { slot: number; ratio: SavedRatio }[];
}

/** One ratio per replica, and the pool's for those that have not reported yet. */
export class ReplicaRatios {
  readonly #own: DecayingRatio[] = Array.from({ length: MAX_REPLICAS }, () => new DecayingRatio());
  readonly #pool = new DecayingRatio();
  /** Reported since the last `tick`. */
  readonly #heard = new Set<number>();

  add(replica: number, top: number, bottom: number, prior: number): void {
    const own = this.#own[replica];
    if (own === undefined) throw new RangeError(`replica slot ${replica} is not 0 … ${MAX_REPLICAS - 1}`);
    this.#heard.add(replica);
    own.add(top, bottom, this.#pool.value ?? prior);
    this.#pool.add(top, bottom, prior);
  }

  /** Fades what `of` believes: its own, else the pool's. */
  fade(replica: number, prior: number): void {
    const own = this.#own[replica];
    (own === undefined || own.value === null ? this.#pool : own).fade(prior);
  }

  /** Time passes: of those that reported nothing since the last time, `share` of the way down to the prior. Who is believed slow is not asked, and could never say otherwise. */
  tick(priorOf: (replica: number) => number, share: number): void {
    if (this.#heard.size === 0) this.#pool.fade(priorOf(0), share);
    for (const [replica, own] of this.#own.entries())
      if (own.value !== null && !this.#heard.has(replica)) own.fade(priorOf(replica), share);
    this.#heard.clear();
  }

  /** Null: nobody has reported. */
  get pool(): number | null {
    return this.#pool.value;
  }

  forget(replica: number): void {
    if (replica in this.#own) this.#own[replica] = new DecayingRatio();
  }

  of(replica: number): number | null {
    return this.#own[replica]?.value ?? this.#pool.value;
  }

  save(): SavedRatios {
    const own = this.#own.flatMap((one, slot) => {
      const ratio = one.save();
      return ratio === null ? [] : [{ slot, ratio }];
    });
    return { pool: this.#pool.save(), own };
  }

  restore({ pool, own }: SavedRatios): void {
    if (pool !== null) this.#pool.restore(pool);
    for (const { slot, ratio } of own) this.#own[slot]?.restore(ratio);
  }
}
