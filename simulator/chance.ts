/** Chance that can be repeated: everything random in a simulation is drawn from one of these. */

/** In [0, 1). */
export type Draw = () => number;

/** A counter run through a mixing function (splitmix32): the same seed gives the same draws on every machine. */
export function seededDraw(seed: number): Draw {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
  };
}

/** A stream of its own for each use, so that one that draws more does not shift the others. */
export function streamOf(seed: number, use: number): Draw {
  const draw = seededDraw(Math.imul(seed, 0x85ebca6b) ^ Math.imul(use + 1, 0xc2b2ae35));
  draw();
  return draw;
}

/** Waiting time of a Poisson process with that mean. */
export function exponential(draw: Draw, mean: number): number {
  return -Math.log(1 - draw()) * mean;
}

/** A standard normal value (Box and Muller). */
function normal(draw: Draw): number {
  return Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());
}

/** A whole number around `median`, logarithms normal with deviation `spread`, clamped to [least, most]. */
export function lognormalTokens(draw: Draw, median: number, spread: number, least: number, most: number): number {
  return Math.round(Math.min(most, Math.max(least, median * Math.exp(spread * normal(draw)))));
}

/** Whole, in [least, most]. */
export function wholeBetween(draw: Draw, least: number, most: number): number {
  return least + Math.floor(draw() * (most - least + 1));
}

/** 64 bits, never 0. */
export function drawHash(draw: Draw): bigint {
  const hash = (BigInt(Math.floor(draw() * 2 ** 32)) << 32n) | BigInt(Math.floor(draw() * 2 ** 32));
  return hash === 0n ? 1n : hash;
}
