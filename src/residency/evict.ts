import { TOUCHED_MASK, touchedOf, type Part } from "./part.ts";

/**
 * Which entries of a full part to give up: the least recently touched, of those of one age the deepest (a prefix's tail is worth nothing without its
 * head, its head something without the tail).
 *
 * @param wanted how many to give up, at least 1; a few more where age and depth are equal.
 * @param now coarse tick; ages are taken modulo 65,536.
 */
export function victimsOf(part: Part, wanted: number, now: number): (tokens: number, meta: number) => boolean {
  const ages = new Uint32Array(TOUCHED_MASK + 1);
  const ageOf = (meta: number): number => (now - touchedOf(meta)) & TOUCHED_MASK;
  part.forEach((_tokens, meta) => (ages[ageOf(meta)] = (ages[ageOf(meta)] ?? 0) + 1));
  let border = TOUCHED_MASK;
  let older = 0;
  while (border > 0 && older + (ages[border] ?? 0) < wanted) older += ages[border--] ?? 0;
  const depths = new Uint32Array(ages[border] ?? 0);
  let filled = 0;
  part.forEach((tokens, meta) => {
    if (ageOf(meta) === border) depths[filled++] = tokens;
  });
  depths.sort();
  const shallowest = depths[Math.max(0, depths.length - (wanted - older))] ?? 0;
  return (tokens, meta) => {
    const age = ageOf(meta);
    return age > border || (age === border && tokens >= shallowest);
  };
}
