/** Numbers from many numbers. */

export { percentile } from "../src/explain/percentile.ts";

/**
 * The mean over tokens, of times that are means per request: each counts as often as it has tokens. A mean over requests would be that of the
 * shortest answers. 0 where there are no tokens.
 * @example tokenWeightedMean([{ ms: 10, tokens: 1 }, { ms: 20, tokens: 3 }]) // 17.5
 */
export function tokenWeightedMean(rows: Iterable<{ ms: number; tokens: number }>): number {
  let sumMs = 0;
  let tokens = 0;
  for (const row of rows) {
    sumMs += row.ms * row.tokens;
    tokens += row.tokens;
  }
  return tokens === 0 ? 0 : sumMs / tokens;
}

/** How many times as large as `base`. Two zeros are equal: 1. */
export function ratioOf(value: number, base: number): number {
  return value === base ? 1 : value / base;
}

/**
 * The geometric mean: the one under which a ratio and its inverse cancel.
 * @throws {RangeError} when there is none, or one is not a positive number.
 * @example geomean([0.5, 2]) // 1
 */
export function geomean(ratios: readonly number[]): number {
  if (ratios.length === 0) throw new RangeError("the geometric mean of nothing");
  let sum = 0;
  for (const ratio of ratios) {
    if (!(ratio > 0)) throw new RangeError(`${ratio} is not a positive ratio`);
    sum += Math.log(ratio);
  }
  return Math.exp(sum / ratios.length);
}
