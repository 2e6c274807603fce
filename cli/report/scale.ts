/** From values to places in a picture, and where to put marks on an axis. */

interface Scale {
  at: (value: number) => number;
  ticks: readonly number[];
}

interface Span {
  from: number;
  to: number;
}

/** Where marks may stand within a decade: close together where the values are. */
const COARSE = [1, 2, 5] as const;
const FINE = [1, 1.5, 2, 3, 4, 5, 7] as const;

/**
 * Logarithmic, from the mark below the least value to the one above the greatest. Values of 0 and less lie at the lower end. Never more than
 * about a dozen marks.
 */
export function logScale(values: readonly number[], { from, to }: Span): Scale {
  const positive = values.filter((value) => value > 0 && Number.isFinite(value));
  const lowest = positive.length === 0 ? 1 : Math.min(...positive);
  const highest = positive.length === 0 ? 10 : Math.max(...positive);
  const steps = highest / lowest < 8 ? FINE : COARSE;
  const least = stepBelow(lowest, steps);
  const most = Math.max(stepAbove(highest, steps), stepAbove(least * 1.5, steps));
  const ticks: number[] = [];
  for (let decade = Math.floor(Math.log10(least)); decade <= Math.ceil(Math.log10(most)); decade += 1)
    for (const step of steps) ticks.push(step * 10 ** decade);
  const wide = most / least > 10_000;
  const share = (value: number): number => (Math.log(Math.max(value, least)) - Math.log(least)) / (Math.log(most) - Math.log(least));
  return {
    at: (value) => from + Math.min(1, share(value)) * (to - from),
    ticks: ticks.filter((tick) => tick >= least * 0.999 && tick <= most * 1.001 && (!wide || isPowerOfTen(tick))),
  };
}

/** Linear, from 0 to the greatest value, or to a round number above it. */
export function linearScale(most: number, { from, to }: Span, end: "round" | "exact" = "round"): Scale {
  const rough = Math.max(most, 1e-9) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough) ?? rough;
  const count = end === "round" ? Math.ceil(most / step - 1e-9) : Math.floor(most / step + 1e-9);
  const last = Math.max(end === "round" ? count * step : most, 1e-9);
  return {
    at: (value) => from + (Math.min(value, last) / last) * (to - from),
    ticks: Array.from({ length: count + 1 }, (_, index) => index * step),
  };
}

/**
 * Places as near as possible to those wanted, in their order, `gap` apart, inside the span where they fit.
 * @returns one place for each one wanted.
 */
export function spread(wanted: readonly number[], gap: number, { from, to }: Span): number[] {
  const order = wanted.map((place, index) => ({ place, index })).toSorted((a, b) => a.place - b.place || a.index - b.index);
  const places = order.map(({ place }) => Math.min(to, Math.max(from, place)));
  for (let index = 1; index < places.length; index += 1) places[index] = Math.max(places[index] ?? 0, (places[index - 1] ?? 0) + gap);
  let limit = to;
  for (let index = places.length - 1; index >= 0; index -= 1) {
    places[index] = Math.min(places[index] ?? 0, limit);
    limit = (places[index] ?? 0) - gap;
  }
  const result: number[] = [];
  for (const [position, { index }] of order.entries()) result[index] = places[position] ?? 0;
  return result;
}

function stepBelow(value: number, steps: readonly number[]): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return (steps.findLast((step) => step * power <= value * 1.000001) ?? 1) * power;
}

function stepAbove(value: number, steps: readonly number[]): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return (steps.find((step) => step * power >= value * 0.999999) ?? 10) * power;
}

function isPowerOfTen(value: number): boolean {
  return Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-9;
}
