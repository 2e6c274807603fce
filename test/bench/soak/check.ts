/** What a soak is judged by: a measured value beside its limit. */
export interface Check {
  what: string;
  value: number;
  limit: number;
  ok: boolean;
}

/** A value that is no number misses its limit: nothing was measured. */
export const atMost = (what: string, value: number, limit: number): Check => ({ what, value, limit, ok: value <= limit });
export const atLeast = (what: string, value: number, limit: number): Check => ({ what, value, limit, ok: value >= limit });
