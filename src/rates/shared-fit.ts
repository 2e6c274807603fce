/** Rates of a pool of like replicas: one fit for all, and each one's pace. */
import { MAX_REPLICAS } from "../residency/segment-index.ts";
import { DecayingFit, type FitShape, type SavedFit } from "./least-squares.ts";
import { TrackingSignal } from "./tracking-signal.ts";

/** What a report counts in a replica's pace once much is known; and where the replica's reports have been off in one direction of late. */
const GAIN = 0.03;
const GAIN_SURPRISED = 0.25;
/** Reports that it takes to believe half of what they say of a replica's pace. */
const HALF_BELIEVED = 6;
/** From so many reports on a replica's rates are more and more those of its own fit, and from so many on nothing else. */
const OWN_FROM = 10;
const OWN_WHOLLY = 40;
/** So many reports are enough. */
const MOST_REPORTS = 40;
/** One report may say at most so many times more or less than the pace. */
const MOST_STEP = Math.log(4);
/** What a report counts in the spread of a replica's reports. */
const SPREAD_GAIN = 0.15;
/** Spreads up to this are noise, and up to so many times that of the most regular replica of those that have sent some reports. */
const USUAL_SPREAD = 0.5;
const USUAL_TIMES = 1.5;
const LEAST_REPORTS = 5;
/** No replica is believed to be so many times quicker or slower than its pool. */
const MOST_LOG_PACE = Math.log(64);

/** How much slower a replica is than its pool. */
interface Pace {
  /** Weighed by trust, at most 40. */
  reports: number;
  /** A logarithm: what they say. */
  log: number;
  /** How far reports were from what was believed of it, on average; a logarithm. */
  spread: number;
  signal: TrackingSignal;
}

/** A replica's own fit, and the reports, weighed by trust, for which it is believed. */
interface OwnFit {
  fit: DecayingFit;
  reports: number;
}

/** As a checkpoint keeps it; paces by slot. Replicas' own fits are not in it: they would be most of it, and are learnt again in some dozens of reports. */
export interface SavedFits {
  pool: SavedFit;
  paces: { slot: number; reports: number; log: number }[];
}

/**
 * One fit for the pool, and for each replica how many times as long all of it takes there. Replicas of a pool run the same model, so that what differs
 * between them is mostly their speed; a fit for each from a few reports of its own is off by more than replicas differ, and whoever is believed
 * quick is sent more. From some dozens of reports on a replica's own fit says it better, whatever others report.
 *
 * A factor of all paces could as well be the fit's: the geometric mean of those who report is held at 1, both where reports are taken in and where
 * rates are given out. (A two-way layout's side condition; without it fit and paces multiply each other without end.)
 */
export class SharedFits {
  readonly #pool: DecayingFit;
  readonly #reporting = new Set<number>();
  readonly #paces: Pace[] = Array.from({ length: MAX_REPLICAS }, freshPace);
  readonly #shape: FitShape;
  /** By slot. */
  readonly #own = new Map<number, OwnFit>();

  constructor(shape: number | FitShape) {
    this.#shape = typeof shape === "number" ? { size: shape } : shape;
    this.#pool = new DecayingFit(this.#shape);
  }

  add(replica: number, features: readonly number[], target: number, prior: ArrayLike<number> | null, trust: number): void {
    const pace = this.#paces[replica];
    if (pace === undefined) return;
    const coefficients = this.#pool.coefficients;
    this.#reporting.add(replica);
    let own = this.#own.get(replica);
    if (own === undefined) this.#own.set(replica, (own = { fit: new DecayingFit(this.#shape), reports: 0 }));
    own.fit.add(features, target, prior, trust);
    own.reports += trust;
    if (coefficients === null || this.#reporting.size === 1) return this.#pool.add(features, target, prior, trust);
    const off = Math.log(target / dot(features, coefficients)) + this.#meanLog();
    follow(pace, off, trust);
    const share = this.#shareOf(pace);
    this.#pool.add(features, target / Math.exp(logOf(pace) - this.#meanLog()), prior, trust * share, this.#reporting.size);
  }

  /** In (0, 1]: what reports of a replica count in the fit of all. Less where they vary much more than those of the most regular one. */
  #shareOf({ spread }: Pace): number {
    let least = Infinity;
    for (const replica of this.#reporting) {
      const other = this.#paces[replica];
      if (other !== undefined && other.reports >= LEAST_REPORTS) least = Math.min(least, other.spread);
    }
    const usual = Math.max(USUAL_SPREAD, least === Infinity ? Infinity : USUAL_TIMES * least);
    return spread <= usual ? 1 : (usual / spread) ** 2;
  }

  /** Of those who report. */
  #meanLog(): number {
    let sum = 0;
    for (const replica of this.#reporting) sum += logOf(this.#paces[replica]);
    return sum / Math.max(1, this.#reporting.size);
  }

  /** It has said nothing for a while. Where it is believed slow that fades: who is believed slow is sent nothing, and could never say otherwise. */
  fade(replica: number, keepShare: number): void {
    const pace = this.#paces[replica];
    if (pace === undefined || logOf(pace) <= this.#meanLog()) return;
    pace.log *= keepShare;
    // Its own fit says how slow it was: what it reports from now on has to confirm it. What it knows of sizes is kept.
    const own = this.#own.get(replica);
    if (own !== undefined) own.reports = 0;
  }

  forget(replica: number): void {
    if (replica in this.#paces) this.#paces[replica] = freshPace();
    this.#reporting.delete(replica);
    this.#own.delete(replica);
  }

  /** Coefficients; null: nobody has reported. */
  of(replica: number): Float64Array | null {
    const shared = this.#shared(replica);
    const own = this.#own.get(replica);
    const coefficients = own?.fit.coefficients ?? null;
    if (shared === null || own === undefined || coefficients === null) return shared;
    const share = Math.min(1, Math.max(0, own.reports - OWN_FROM) / (OWN_WHOLLY - OWN_FROM));
    return shared.map((coefficient, at) => coefficient + share * ((coefficients[at] ?? 0) - coefficient));
  }

  /** The pool's fit at the replica's pace. */
  #shared(replica: number): Float64Array | null {
    const pace = this.#reporting.has(replica) ? Math.exp(logOf(this.#paces[replica]) - this.#meanLog()) : 1;
    return this.#pool.coefficients?.map((coefficient) => coefficient * pace) ?? null;
  }

  save(): SavedFits | null {
    if (this.#pool.coefficients === null) return null;
    const paces = [...this.#reporting].map((slot) => ({
      slot,
      reports: this.#paces[slot]?.reports ?? 0,
      log: this.#paces[slot]?.log ?? 0,
    }));
    return { pool: this.#pool.save(), paces };
  }

  restore({ pool, paces }: SavedFits): void {
    this.#pool.restore(pool);
    for (const { slot, reports, log } of paces) {
      if (!(slot in this.#paces)) continue;
      this.#paces[slot] = { ...freshPace(), reports, log };
      this.#reporting.add(slot);
    }
  }
}

function freshPace(): Pace {
  return { reports: 0, log: 0, spread: 0, signal: new TrackingSignal() };
}

/** @param log of how many times as long as the fit this report took. */
function follow(pace: Pace, log: number, trust: number): void {
  if (!Number.isFinite(log)) return;
  const step = Math.min(MOST_LOG_PACE, Math.max(-MOST_LOG_PACE, log)) - pace.log;
  const surprised = pace.signal.follow(step, trust);
  pace.spread += SPREAD_GAIN * trust * (Math.min(MOST_LOG_PACE, Math.abs(step)) - pace.spread);
  pace.reports = Math.min(MOST_REPORTS, pace.reports + trust);
  const gain = Math.max(trust / Math.max(1, pace.reports), (surprised ? GAIN_SURPRISED : GAIN) * trust);
  pace.log += gain * Math.min(MOST_STEP, Math.max(-MOST_STEP, step));
}

/** Logarithm of what is believed of it, the pool's mean not taken out. */
function logOf({ reports, log }: Pick<Pace, "reports" | "log"> = { reports: 0, log: 0 }): number {
  return (log * reports) / (reports + HALF_BELIEVED);
}

function dot(left: readonly number[], right: ArrayLike<number>): number {
  return left.reduce((sum, value, at) => sum + value * (right[at] ?? 0), 0);
}
