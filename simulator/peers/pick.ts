/** Choosing among costs, the same for all baselines: what a rule says, and who wins a tie. */

/**
 * The index of the lowest cost; ties are broken evenly by one draw.
 * @throws {RangeError} when `costs` is empty or holds a NaN.
 */
export function pickLowest(costs: readonly number[], draw: () => number): number {
  const best = lowestOf(costs);
  const ties: number[] = [];
  for (const [index, cost] of costs.entries()) if (cost === best) ties.push(index);
  return ties[drawBelow(ties.length, draw)] ?? 0;
}

/** The same for the highest score. */
export function pickHighest(scores: readonly number[], draw: () => number): number {
  return pickLowest(
    scores.map((score) => -score),
    draw,
  );
}

/**
 * The index of the smallest key, compared element by element; the first one wins a tie.
 * @throws {RangeError} when `keys` is empty.
 */
export function pickFirst(keys: readonly (readonly number[])[]): number {
  if (keys.length === 0) throw new RangeError("no replica to choose from");
  let best = 0;
  for (const [index, key] of keys.entries()) if (comesBefore(key, keys[best] ?? key)) best = index;
  return best;
}

/** Whole, in [0, `count`); draws only where there is a choice. */
export function drawBelow(count: number, draw: () => number): number {
  return count <= 1 ? 0 : Math.min(count - 1, Math.floor(draw() * count));
}

function lowestOf(costs: readonly number[]): number {
  if (costs.length === 0) throw new RangeError("no replica to choose from");
  let best = Infinity;
  for (const cost of costs) {
    if (Number.isNaN(cost)) throw new RangeError("a cost is not a number");
    if (cost < best) best = cost;
  }
  return best;
}

function comesBefore(a: readonly number[], b: readonly number[]): boolean {
  for (const [position, value] of a.entries()) {
    const other = b[position] ?? 0;
    if (value !== other) return value < other;
  }
  return false;
}
