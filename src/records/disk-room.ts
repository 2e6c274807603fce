/** Of the disk below the objects of a self-hosted edge: who may still write. What serves is to go on longer than what only keeps. */

const MIB = 1024 * 1024;

export interface DiskSpace {
  /** What an ordinary process may still use. */
  freeBytes: number;
  totalBytes: number;
}

/** records: what clients asked to have kept. pool: a pool's checkpoint and its decisions, by which it is warm after a restart. */
export type DiskUse = "records" | "pool";

/** Left free by each use, bytes: a share of a small disk, so many of a large one. */
const RESERVE: Record<DiskUse, { share: number; most: number }> = {
  records: { share: 1 / 16, most: 32 * MIB },
  // A flush of a pool writes up to 1.7 MB (docs/decisions/0010-checkpoint-as-journal.md), its log of decisions 1 MB a row.
  pool: { share: 1 / 32, most: 16 * MIB },
};

export function hasRoom({ freeBytes, totalBytes }: DiskSpace, use: DiskUse): boolean {
  const { share, most } = RESERVE[use];
  return freeBytes > Math.min(most, totalBytes * share);
}
