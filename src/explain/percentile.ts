/**
 * Of values in rising order, the smallest that at least `share` of them do not exceed (nearest rank); 0 of none.
 * @param share 0 … 1.
 * @example percentile([10, 20, 30, 40], 0.5) // 20
 */
export function percentile(sorted: ArrayLike<number>, share: number): number {
  const rank = Math.ceil(share * sorted.length);
  return sorted[Math.min(sorted.length, Math.max(1, rank)) - 1] ?? 0;
}
