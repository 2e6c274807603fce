/**
 * Least squares over reports that come one by one, for times that change slowly.
 *
 * Against what goes wrong with such fits: one odd report says little (residuals winsorised in the logarithm, P. Huber, Robust Statistics, 1981,
 * §7.8); what recent reports leave open is decided by older ones of other sizes (size-classes.ts); a term that explains little is not extrapolated
 * (soft threshold of R. Tibshirani's lasso, 1996, by coordinate descent); and after a change the past is forgotten faster (tracking-signal.ts).
 */
import { beliefIn, type SizeClass, SizeClasses } from "./size-classes.ts";
import { TrackingSignal } from "./tracking-signal.ts";

/** Share of the past that a new report leaves; and where reports have been off in one direction of late. */
const KEEP = 0.96;
const KEEP_SURPRISED = 0.8;
/** One report may say at most so many times more or less than what is believed. */
const MOST_LOG = Math.log(4);
/** From so many reports on, what is usual is known, and what is unusual is cut to the edge of it. */
const USUAL_AFTER = 8;
/** Edge of the usual: so many mean absolute deviations (of the logarithm), and never closer than this. */
const USUAL_SPREADS = 1.8;
const LEAST_EDGE = 0.15;
const SPREAD_KEEP = 0.9;
/** Reports weigh 1 / (expected target to this power): with 1, noise of equal size per token; with 2, of equal share. */
const NOISE_GROWTH = 2;
/** Weight of the prior, as a share of what the reports themselves weigh: it decides only what they leave open. */
const PRIOR_SHARE = 0.002;
/** Weight of a size class's mean, in recent reports. */
const CLASS_WEIGHT = 0.3;
/** A sparse term has to explain more than this share of the times. */
const SPARSE_SHARE = 0.05;
/** Of what the first term is where reports leave it open, it is always at least this. */
const LEAST_OF_FIRST = 0.5;
/** Keeps terms that reports do not tell apart finite. */
const RIDGE = 1e-9;
/** Times outside are cut to it, ms: nothing that is learnt takes less or longer. */
const LEAST_TARGET = 1e-3;
const MOST_TARGET = 3_600_000;

export interface FitShape {
  /** Number of features. */
  size: number;
  /** Indices of terms that count only where they explain something. */
  sparse?: readonly number[];
  /** Where reports can't tell the first term from the others, what does not depend on size is taken to be worth so many units of it. */
  fixedUnits?: number;
  /** Taken to have been reported so often, and never forgotten: what is believed of sizes that nobody has reported. */
  presumed?: { features: readonly number[]; target: number; reports: number };
}

/** As a checkpoint keeps it. */
export interface SavedFit {
  reports: number;
  spread: number;
  matrix: number[];
  vector: number[];
  solution: number[];
  classes: SizeClass[];
}

/**
 * target ≈ sum of coefficient × feature, all coefficients non-negative.
 *
 * The noise of times grows with them, so the longer a report is expected to be the less it weighs per ms. Solved from where it stood: with three
 * coefficients that is a few hundred operations.
 */
export class DecayingFit {
  readonly #shape: FitShape;
  readonly #recent: Normal;
  readonly #classes = new SizeClasses();
  readonly #signal = new TrackingSignal();
  readonly #solution: Float64Array;
  #reports = 0;
  #solved = false;
  #spread = 0;

  constructor(shape: FitShape) {
    this.#shape = shape;
    this.#recent = new Normal(shape.size);
    this.#solution = new Float64Array(shape.size);
  }

  get coefficients(): Readonly<Float64Array> | null {
    return this.#solved ? this.#solution : null;
  }

  get reports(): number {
    return this.#reports;
  }

  /**
   * @param prior coefficients to believe where reports say nothing; NaN: none for this one. The first report moves what they expect at most fourfold.
   * @param trust in (0, 1]: how much of a report this is.
   * @param reporters replicas that share this fit: each of them forgets at the same pace as one alone.
   */
  add(features: readonly number[], target: number, prior: ArrayLike<number> | null, trust = 1, reporters = 1): void {
    if (!(target > 0 && trust > 0 && Number.isFinite(target))) return;
    if (!features.every((value) => value >= 0 && Number.isFinite(value)) || !features.some((value) => value > 0)) return;
    const told = Math.min(MOST_TARGET, Math.max(LEAST_TARGET, target));
    const expected = this.#expected(features, prior);
    const off = expected > 0 ? Math.log(told / expected) : 0;
    const surprised = this.#signal.follow(off, trust);
    const doubt = Math.min(1, this.#edge(off, surprised) / Math.abs(off || 1));
    this.#reports++;
    this.#recent.fade((surprised ? KEEP_SURPRISED : KEEP) ** (trust / reporters));
    // What was expected and what came: whichever is longer, so that neither has more than its share.
    const bounded = expected > 0 ? expected * Math.exp(Math.min(MOST_LOG, Math.max(-MOST_LOG, off))) : told;
    this.#recent.add(features, bounded, trust * doubt, surprised ? expected || told : Math.max(bounded, expected));
    if (surprised) this.#classes.doubt();
    // While little is known no report moves belief more than fourfold.
    this.#classes.add(features, this.#reports <= USUAL_AFTER ? bounded : told, trust, doubt, surprised);
    this.#solve(prior);
  }

  save(): SavedFit {
    const { matrix, vector } = this.#recent;
    return {
      reports: this.#reports,
      spread: this.#spread,
      matrix: [...matrix],
      vector: [...vector],
      solution: [...this.#solution],
      classes: [...this.#classes.all],
    };
  }

  restore({ reports, spread, matrix, vector, solution, classes }: SavedFit): void {
    this.#reports = reports;
    this.#solved = reports > 0;
    this.#spread = spread;
    this.#recent.matrix.set(matrix);
    this.#recent.vector.set(vector);
    this.#solution.set(solution);
    this.#classes.restore(classes);
  }

  #expected(features: readonly number[], prior: ArrayLike<number> | null): number {
    const from = this.#solved ? this.#solution : prior;
    if (from === null) return 0;
    let sum = 0;
    for (let i = 0; i < this.#shape.size; i++) sum += numberOr(from[i], 0) * (features[i] ?? 0);
    return sum > 0 ? Math.max(LEAST_TARGET, sum) : 0;
  }

  /** Of a residual's logarithm; beyond it a report counts less the further off it is. */
  #edge(off: number, surprised: boolean): number {
    const known = this.#reports >= USUAL_AFTER && !surprised;
    const edge = known ? Math.min(MOST_LOG, Math.max(LEAST_EDGE, USUAL_SPREADS * this.#spread)) : MOST_LOG;
    const size = Math.min(MOST_LOG, Math.abs(off));
    this.#spread = this.#reports === 0 ? size : SPREAD_KEEP * this.#spread + (1 - SPREAD_KEEP) * size;
    return edge;
  }

  #solve(prior: ArrayLike<number> | null): void {
    const { size, sparse = [], fixedUnits, presumed } = this.#shape;
    const sums = new Normal(size, this.#recent);
    for (const one of this.#classes.all) {
      // What took far less than expected would weigh without bound.
      const expected = Math.max(one.target, this.#expected(one.features, prior) / 2);
      sums.add(one.features, one.target, CLASS_WEIGHT * beliefIn(one), expected);
    }
    if (presumed !== undefined) sums.add(presumed.features, presumed.target, presumed.reports, presumed.target);
    const first = fixedUnits === undefined ? NaN : this.#classes.firstTerm(fixedUnits);
    for (let term = 0; term < size; term++)
      sums.pull(term, term === 0 && fixedUnits !== undefined ? first : numberOr(prior?.[term], NaN), PRIOR_SHARE);
    const discount = new Float64Array(size);
    for (const term of sparse) discount[term] = SPARSE_SHARE;
    this.#solved = true;
    this.#solution.set(sums.solve(discount));
    if (fixedUnits !== undefined) this.#solution[0] = Math.max(this.#solution[0] ?? 0, LEAST_OF_FIRST * first);
  }
}

/** Normal equations of a weighted least squares problem. */
class Normal {
  readonly matrix: Float64Array;
  readonly vector: Float64Array;
  readonly #size: number;
  /** Room to solve in. */
  readonly #rows: Float64Array;
  readonly #solution: Float64Array;

  constructor(size: number, from?: Normal) {
    this.#size = size;
    this.#rows = new Float64Array(size * (size + 1));
    this.#solution = new Float64Array(size);
    this.matrix = from === undefined ? new Float64Array(size * size) : from.matrix.slice();
    this.vector = from === undefined ? new Float64Array(size) : from.vector.slice();
  }

  fade(keep: number): void {
    for (let i = 0; i < this.matrix.length; i++) this.matrix[i] = (this.matrix[i] ?? 0) * keep;
    for (let i = 0; i < this.vector.length; i++) this.vector[i] = (this.vector[i] ?? 0) * keep;
  }

  /** `expected`: what its noise grows with. */
  add(features: ArrayLike<number>, target: number, weight: number, expected: number): void {
    const size = this.#size;
    const share = weight / expected ** NOISE_GROWTH;
    for (let i = 0; i < size; i++) {
      const scaled = share * (features[i] ?? 0);
      if (scaled === 0) continue;
      this.vector[i] = (this.vector[i] ?? 0) + scaled * target;
      for (let j = 0; j < size; j++) this.matrix[i * size + j] = (this.matrix[i * size + j] ?? 0) + scaled * (features[j] ?? 0);
    }
  }

  /** As if `value` had been reported of this term, with `share` of the weight that reports have; nothing where it is NaN. */
  pull(term: number, value: number, share: number): void {
    const own = this.#at(term, term);
    if (!Number.isFinite(value) || own <= 0) return;
    this.matrix[term * this.#size + term] = own * (1 + share);
    this.vector[term] = (this.vector[term] ?? 0) + share * own * value;
  }

  /**
   * The non-negative solution: of all sets of terms, the best of those whose least squares solution is positive. With three terms these are seven.
   *
   * @param discount what of the vector each term has to do without.
   */
  solve(discount: Float64Array): Float64Array {
    const size = this.#size;
    const best = new Float64Array(size);
    let most = 0;
    for (let set = 1; set < 1 << size; set++) {
      const solution = this.#solveFor(set, discount);
      if (solution === null) continue;
      // At its least squares solution a set explains vector · solution.
      let explained = 0;
      for (let term = 0; term < size; term++) explained += (solution[term] ?? 0) * this.#aim(term, discount);
      if (explained <= most) continue;
      most = explained;
      best.set(solution);
    }
    return best;
  }

  /**
   * By Gauss' elimination over all terms, scaled to like size; those outside the set are held at 0. Null where one would be negative, or says nothing.
   *
   * @param set bits of terms.
   */
  #solveFor(set: number, discount: Float64Array): Float64Array | null {
    const size = this.#size;
    const wide = size + 1;
    const rows = this.#rows;
    rows.fill(0);
    for (let i = 0; i < size; i++) {
      const own = this.#at(i, i);
      if ((set & (1 << i)) === 0) rows[i * wide + i] = 1;
      else if (own <= 0) return null;
      else {
        for (let j = 0; j < size; j++) if ((set & (1 << j)) !== 0) rows[i * wide + j] = this.#at(i, j) / Math.sqrt(own * this.#at(j, j));
        rows[i * wide + i] = 1 + RIDGE;
        rows[i * wide + size] = this.#aim(i, discount) / Math.sqrt(own);
      }
    }
    for (let at = 0; at < size; at++) {
      for (let row = at + 1; row < size; row++) {
        const share = (rows[row * wide + at] ?? 0) / (rows[at * wide + at] ?? 1);
        if (share !== 0)
          for (let j = at; j < wide; j++) rows[row * wide + j] = (rows[row * wide + j] ?? 0) - share * (rows[at * wide + j] ?? 0);
      }
    }
    const solution = this.#solution;
    for (let at = size - 1; at >= 0; at--) {
      let rest = rows[at * wide + size] ?? 0;
      for (let j = at + 1; j < size; j++) rest -= (rows[at * wide + j] ?? 0) * (solution[j] ?? 0);
      const value = rest / (rows[at * wide + at] ?? 1);
      if (!(value >= 0)) return null;
      solution[at] = value;
    }
    for (let at = 0; at < size; at++) if ((set & (1 << at)) !== 0) solution[at] = (solution[at] ?? 0) / Math.sqrt(this.#at(at, at));
    return solution;
  }

  #aim(term: number, discount: Float64Array): number {
    return (this.vector[term] ?? 0) * (1 - (discount[term] ?? 0));
  }

  #at(row: number, column: number): number {
    return this.matrix[row * this.#size + column] ?? 0;
  }
}

function numberOr(value: number | undefined, other: number): number {
  return value !== undefined && Number.isFinite(value) ? value : other;
}
