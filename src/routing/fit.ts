/** Least squares over reports that come one by one, for rates that change slowly: old reports fade, and one that is far off says little. */

/** Share of the past that a new report leaves. */
const KEEP = 0.96;
/** One report may say at most so many times more or less than what is believed. */
const OUTLIER = 4;
const MOST_LOG = Math.log(OUTLIER);
/** From so many reports on, what is usual is known, and what is unusual is cut to the edge of it. */
const USUAL_AFTER = 8;
/** Edge of the usual: so many mean absolute deviations (of the logarithm), and never closer than this. */
const USUAL_SPREADS = 1.8;
const LEAST_EDGE = 0.15;
/** Reports weigh 1 / (expected target to this power): with 1, noise of equal size per token; with 2, of equal share. */
const NOISE_GROWTH = 1.25;
const SPREAD_KEEP = 0.9;
/** Weight of the prior, as a share of what the reports themselves weigh: it decides only what they leave open. */
const PRIOR_SHARE = 0.002;
const MOST_SWEEPS = 30;
const SETTLED = 1e-4;

/**
 * target ≈ sum of coefficient × feature, all coefficients non-negative.
 *
 * The noise of times grows with them, so the longer a report is expected to be the less it weighs per ms. Solved by coordinate descent on the normal equations from where it stood: with three coefficients that is a few hundred operations.
 */
export class DecayingFit {
  readonly #size: number;
  readonly #matrix: Float64Array;
  readonly #vector: Float64Array;
  readonly #solution: Float64Array;
  #reports = 0;
  #spread = 0;

  constructor(size: number) {
    this.#size = size;
    this.#matrix = new Float64Array(size * size);
    this.#vector = new Float64Array(size);
    this.#solution = new Float64Array(size);
  }

  get coefficients(): Readonly<Float64Array> | null {
    return this.#reports > 0 ? this.#solution : null;
  }

  /**
   * @param prior coefficients to believe where reports say nothing; NaN: none for this one. Also what the first report is measured by.
   * @param trust in (0, 1]: how much of a report this is.
   * @param keepShare share of the past that a new report leaves.
   */
  add(features: readonly number[], target: number, prior: ArrayLike<number> | null, trust = 1, keepShare = KEEP): void {
    if (!(target > 0 && Number.isFinite(target)) || !features.every((value) => value >= 0 && Number.isFinite(value))) return;
    const expected = this.#expected(features, prior);
    const believed = expected > 0 ? this.#bounded(target, expected) : target;
    // The further off, the less it weighs.
    const doubt = Math.min(1, Math.abs(Math.log(believed / expected)) / Math.abs(Math.log(target / expected)));
    const weight = (trust * (doubt > 0 ? doubt : 1)) / (expected > 0 ? expected : target) ** NOISE_GROWTH;
    const keep = keepShare ** trust;
    if (this.#reports === 0 && prior !== null) for (let i = 0; i < this.#size; i++) this.#solution[i] = numberOr(prior[i], 0);
    this.#reports++;
    for (let i = 0; i < this.#size; i++) {
      const scaled = weight * (features[i] ?? 0);
      this.#vector[i] = (this.#vector[i] ?? 0) * keep + scaled * believed;
      for (let j = 0; j < this.#size; j++) {
        const at = i * this.#size + j;
        this.#matrix[at] = (this.#matrix[at] ?? 0) * keep + scaled * (features[j] ?? 0);
      }
    }
    this.#solve(prior);
  }

  #expected(features: readonly number[], prior: ArrayLike<number> | null): number {
    const from = this.#reports > 0 ? this.#solution : prior;
    if (from === null) return 0;
    let sum = 0;
    for (let i = 0; i < this.#size; i++) sum += (from[i] ?? 0) * (features[i] ?? 0);
    return Number.isFinite(sum) ? sum : 0;
  }

  #bounded(target: number, expected: number): number {
    const off = Math.min(Math.max(Math.log(target / expected), -MOST_LOG), MOST_LOG);
    const edge = this.#reports < USUAL_AFTER ? MOST_LOG : Math.min(MOST_LOG, Math.max(LEAST_EDGE, USUAL_SPREADS * this.#spread));
    // The spread is measured before the cut, so that when all reports become unusual they are soon believed.
    this.#spread = this.#reports === 0 ? Math.abs(off) : SPREAD_KEEP * this.#spread + (1 - SPREAD_KEEP) * Math.abs(off);
    return expected * Math.exp(Math.min(Math.max(off, -edge), edge));
  }

  #solve(prior: ArrayLike<number> | null): void {
    const size = this.#size;
    for (let sweep = 0; sweep < MOST_SWEEPS; sweep++) {
      let moved = 0;
      for (let i = 0; i < size; i++) {
        const own = this.#matrix[i * size + i] ?? 0;
        if (!(own > 0)) continue;
        const believed = prior === null ? NaN : (prior[i] ?? NaN);
        const ridge = Number.isFinite(believed) ? PRIOR_SHARE * own : 0;
        let rest = (this.#vector[i] ?? 0) + (ridge > 0 ? ridge * believed : 0);
        for (let j = 0; j < size; j++) if (j !== i) rest -= (this.#matrix[i * size + j] ?? 0) * (this.#solution[j] ?? 0);
        const before = this.#solution[i] ?? 0;
        const next = Math.max(0, rest / (own + ridge));
        this.#solution[i] = next;
        moved = Math.max(moved, Math.abs(next - before) / Math.max(next, before, Number.MIN_VALUE));
      }
      if (moved < SETTLED) return;
    }
  }
}

function numberOr(value: number | undefined, other: number): number {
  return value !== undefined && Number.isFinite(value) ? value : other;
}
