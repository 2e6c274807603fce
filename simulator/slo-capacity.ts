/**
 * SLO capacity: the highest arrival rate at which 90 % of requests are within 2 s to the first token and 50 ms per token. What a run counts as
 * good is the run's own; here only the rate is searched for.
 */

interface SloSearch {
  /** Requests per second between which is searched; 0 < lowest < highest. */
  lowestPerSecond: number;
  highestPerSecond: number;
  /** Share of requests that have to be good. */
  goodShare?: number;
  /** The search ends when the rate that held and the one that did not are within this factor. */
  withinFactor?: number;
  /** 2 or more; the ends of the range take two. */
  maxRuns?: number;
}

export type SloCapacity =
  /** Held at this rate and not at `failedPerSecond`. `converged`: within the factor asked for, else the runs were used up. */
  | { kind: "found"; requestsPerSecond: number; failedPerSecond: number; goodShare: number; runs: number; converged: boolean }
  /** Not even at the lowest rate. */
  | { kind: "below-range"; requestsPerSecond: number; goodShare: number; runs: number }
  /** Still at the highest rate. */
  | { kind: "above-range"; requestsPerSecond: number; goodShare: number; runs: number };

const DEFAULTS = { goodShare: 0.9, withinFactor: 1.02, maxRuns: 12 } as const;

/**
 * Bisection by factors: each run halves the logarithm of what is left. Where the share does not fall steadily with the rate there may be
 * several borders; this finds one, with a rate that held below it and one that did not above.
 * @param run one run at that rate, the same numbers for the same rate.
 * @throws {RangeError} when the range or a bound makes no sense.
 */
export function sloCapacity(run: (requestsPerSecond: number) => { goodShare: number }, search: SloSearch): SloCapacity {
  const { lowestPerSecond, highestPerSecond, goodShare, withinFactor, maxRuns } = { ...DEFAULTS, ...search };
  if (!(lowestPerSecond > 0 && highestPerSecond > lowestPerSecond && highestPerSecond < Infinity))
    throw new RangeError(`${lowestPerSecond} … ${highestPerSecond} requests per second is no range`);
  if (!(withinFactor > 1 && maxRuns >= 2)) throw new RangeError("the search needs a factor above 1 and two runs or more");

  const atLowest = run(lowestPerSecond).goodShare;
  if (!(atLowest >= goodShare)) return { kind: "below-range", requestsPerSecond: lowestPerSecond, goodShare: atLowest, runs: 1 };
  const atHighest = run(highestPerSecond).goodShare;
  if (atHighest >= goodShare) return { kind: "above-range", requestsPerSecond: highestPerSecond, goodShare: atHighest, runs: 2 };

  let held = { perSecond: lowestPerSecond, share: atLowest };
  let failedPerSecond = highestPerSecond;
  let runs = 2;
  while (failedPerSecond / held.perSecond > withinFactor && runs < maxRuns) {
    const perSecond = Math.sqrt(held.perSecond * failedPerSecond);
    const share = run(perSecond).goodShare;
    runs += 1;
    if (share >= goodShare) held = { perSecond, share };
    else failedPerSecond = perSecond;
  }
  const converged = failedPerSecond / held.perSecond <= withinFactor;
  return { kind: "found", requestsPerSecond: held.perSecond, failedPerSecond, goodShare: held.share, runs, converged };
}
