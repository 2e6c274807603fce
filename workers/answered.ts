/** Replicas whose answers came to their end at this edge: each pool hears of its own with the next question, so that no call is made for it. */
import type { AnsweredBy } from "../src/router/question.ts";

/** As a pool has replicas. */
const MOST_NAMES = 64;

/** Of this isolate: by pool, then by name the epoch. */
const answered = new Map<string, Map<string, number>>();

export function noteAnswered({ pool, replica, epoch }: AnsweredBy & { pool: string }): void {
  let names = answered.get(pool);
  if (names === undefined) answered.set(pool, (names = new Map()));
  if (names.size < MOST_NAMES || names.has(replica)) names.set(replica, epoch);
}

/** Those that the pool has not heard of. */
export function takeAnswered(pool: string): { answered?: AnsweredBy[] } {
  const names = answered.get(pool);
  if (names === undefined || names.size === 0) return {};
  answered.delete(pool);
  return { answered: [...names].map(([replica, epoch]) => ({ replica, epoch })) };
}
