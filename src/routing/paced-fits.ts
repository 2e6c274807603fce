/** Rates of a pool of like replicas: one fit for all, and each one's pace. */
import { MAX_REPLICAS } from "../residency/segment-index.ts";
import { DecayingFit } from "./fit.ts";

/** Share of the past that a report leaves in a replica's pace, and as much for each replica that reports in the pool's fit. */
const PACE_KEEP = 0.96;
/** Reports that it takes to believe half of what they say of a replica's pace. */
const PACE_PRIOR = 8;
/** One report may say at most so many times more or less than the pace: much while little is known of it, less later. */
const MOST_PACE_STEP = { first: Math.log(4), later: Math.log(1.5) };
const FIRST_PACE_WEIGHT = 6;

/** How much slower a replica is than its pool: reports as logarithms, weighed by trust. */
interface Pace {
  weight: number;
  sum: number;
}

/**
 * One fit for the pool, and for each replica how many times as long all of it takes there. Replicas of a pool run the same model, so that what differs
 * between them is mostly their speed; a fit for each from its own reports alone is off by more than replicas differ, and whoever is believed
 * quick is sent more.
 */
export class PacedFits {
  readonly #pool: DecayingFit;
  readonly #reporting = new Set<number>();
  readonly #paces: Pace[] = Array.from({ length: MAX_REPLICAS }, () => ({ weight: 0, sum: 0 }));

  constructor(size: number) {
    this.#pool = new DecayingFit(size);
  }

  add(replica: number, features: readonly number[], target: number, prior: readonly number[] | null, trust: number): void {
    const pace = this.#paces[replica];
    const coefficients = this.#pool.coefficients;
    if (pace === undefined) return;
    this.#reporting.add(replica);
    // Of a replica that is alone the fit is its own.
    if (coefficients !== null && this.#reporting.size > 1) this.#follow(pace, target / dot(features, coefficients), trust);
    this.#pool.add(features, target / toldPace(pace), prior, trust, PACE_KEEP ** (1 / this.#reporting.size));
  }

  #meanPace(): number {
    let sum = 0;
    for (const replica of this.#reporting) sum += Math.log(paceOf(this.#paces[replica]));
    return Math.exp(sum / Math.max(1, this.#reporting.size));
  }

  #follow(pace: Pace, times: number, trust: number): void {
    const before = Math.log(toldPace(pace));
    const step = Math.log(times) - before;
    if (!Number.isFinite(step)) return;
    const most = pace.weight < FIRST_PACE_WEIGHT ? MOST_PACE_STEP.first : MOST_PACE_STEP.later;
    const keep = PACE_KEEP ** trust;
    pace.weight = pace.weight * keep + trust;
    pace.sum = pace.sum * keep + trust * (before + Math.min(most, Math.max(-most, step)));
  }

  /** It has said nothing for a while. Where it is believed slow that fades: who is believed slow is sent nothing, and could never say otherwise. */
  fade(replica: number, keepShare: number): void {
    const pace = this.#paces[replica];
    if (pace === undefined || pace.sum <= 0) return;
    pace.weight *= keepShare;
    pace.sum *= keepShare;
  }

  forget(replica: number): void {
    if (replica in this.#paces) this.#paces[replica] = { weight: 0, sum: 0 };
    this.#reporting.delete(replica);
  }

  of(replica: number): Float64Array | null {
    const pace = this.#reporting.has(replica) ? paceOf(this.#paces[replica]) : this.#meanPace();
    return this.#pool.coefficients?.map((coefficient) => coefficient * pace) ?? null;
  }
}

/** What its reports say, so that the pool's fit is of a replica with pace 1. */
function toldPace({ weight, sum }: Pace): number {
  return weight > 0 ? Math.exp(sum / weight) : 1;
}

/** What is believed of it. */
function paceOf({ weight, sum }: Pace = { weight: 0, sum: 0 }): number {
  return Math.exp(sum / (weight + PACE_PRIOR));
}

function dot(left: readonly number[], right: ArrayLike<number>): number {
  return left.reduce((sum, value, at) => sum + value * (right[at] ?? 0), 0);
}
