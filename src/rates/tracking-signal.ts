/** Share of the past that stays in the means when an error is added. */
const KEEP = 0.8;
/** Errors in one direction: their mean is at least this share of their mean size … */
const ONE_SIDED = 0.75;
/** … and at least this far from none, as a logarithm. */
const LEAST_LOG = 0.3;
/** Fewer errors than this say nothing. */
const LEAST_ERRORS = 5;
/** The most that one error counts, as a logarithm. */
const MOST_LOG = Math.log(4);

/**
 * Whether a forecast has been off in one direction of late: then what it forecasts has changed, and the past should be forgotten faster.
 * The tracking signal of D. Trigg and A. Leach, Exponential smoothing with an adaptive response rate, Operational Research Quarterly 18, 1967.
 */
export class TrackingSignal {
  #errors = 0;
  #mean = 0;
  #size = 0;

  /**
   * @param off logarithm of the reported over the expected.
   * @param trust in (0, 1].
   */
  follow(off: number, trust: number): boolean {
    const bounded = Math.min(MOST_LOG, Math.max(-MOST_LOG, off));
    const keep = KEEP ** trust;
    this.#errors++;
    this.#mean = keep * this.#mean + (1 - keep) * bounded;
    this.#size = keep * this.#size + (1 - keep) * Math.abs(bounded);
    return this.#errors >= LEAST_ERRORS && Math.abs(this.#mean) >= Math.max(LEAST_LOG, ONE_SIDED * this.#size);
  }
}
