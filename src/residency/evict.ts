import { type Part, touchedOf } from "./part.ts";

/**
 * Which entries of a full part to give up: the least recently touched, of those of one age the deepest (a prefix's tail is worth nothing without its
 * head, its head something without the tail), of those of one depth any.
 *
 * @param wanted how many to give up, 1 to all: just so many are named.
 * @returns for one walk over the part: of equals it names the first that it is asked about.
 */
export function victimsOf(part: Part, wanted: number): (tokens: number, meta: number) => boolean {
  const ages = new Uint32Array(part.used);
  const all = new Uint32Array(part.used);
  let filled = 0;
  part.forEach((tokens, meta) => {
    ages[filled] = touchedOf(meta);
    all[filled++] = tokens;
  });
  const oldest = select(ages, wanted - 1);
  let equals = 0;
  for (let at = 0; at < filled; at++) if (ages[at] === oldest.value) all[equals++] = all[at] ?? 0;
  const depths = all.subarray(0, equals);
  const stay = equals - (wanted - oldest.below);
  const shallowest = select(depths, stay);
  let left = shallowest.below + shallowest.equal - stay;
  return (tokens, meta) => {
    const touched = touchedOf(meta);
    if (touched !== oldest.value) return touched < oldest.value;
    if (tokens !== shallowest.value) return tokens > shallowest.value;
    return left-- > 0;
  };
}

/** By so many bits at a time. */
const DIGITS = [
  { shift: 22, size: 1 << 10 },
  { shift: 11, size: 1 << 11 },
  { shift: 0, size: 1 << 11 },
] as const;

/** The value at `rank` (from 0) if they were sorted, and how many are below it and equal to it: a radix selection, most significant bits first. */
function select(values: Uint32Array, rank: number): { value: number; below: number; equal: number } {
  let value = 0;
  let below = 0;
  let equal = 0;
  let known = 0;
  for (const { shift, size } of DIGITS) {
    const counts = new Uint32Array(size);
    for (const one of values) {
      if ((one & known) >>> 0 !== value) continue;
      const digit = (one >>> shift) & (size - 1);
      counts[digit] = (counts[digit] ?? 0) + 1;
    }
    let digit = 0;
    while (digit < size - 1 && below + (counts[digit] ?? 0) <= rank) below += counts[digit++] ?? 0;
    equal = counts[digit] ?? 0;
    value = (value | (digit << shift)) >>> 0;
    known |= (size - 1) << shift;
  }
  return { value, below, equal };
}
