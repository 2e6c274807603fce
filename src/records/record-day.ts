/**
 * Where records lie in time: one object holds a tenant's records of a day. The days' places are used again in a ring of 32, so that
 * the number of objects does not grow with time (docs/decisions/0020-records-by-tenant-and-day.md).
 */

const DAY_MS = 86_400_000;
/** Two more than records are kept: a day's object is empty before its place comes again. */
export const DAYS = 32;
export const RETENTION_MS = 30 * DAY_MS;

/** The place of the day in which `nowMs` lies, 0 … 31. */
export function placeOfDay(nowMs: number): number {
  return Math.floor(nowMs / DAY_MS) % DAYS;
}

/**
 * When the day that has this place began, ms since 1970: the last such day, where tomorrow counts already, because clocks differ.
 * @param place 0 … 31
 */
export function dayOfPlace(place: number, nowMs: number): number {
  const tomorrow = Math.floor(nowMs / DAY_MS) + 1;
  return (tomorrow - ((((tomorrow - place) % DAYS) + DAYS) % DAYS)) * DAY_MS;
}

/** When no record of this day is kept any more; half a day is left until its place comes again. */
export function endOfDay(dayMs: number): number {
  return dayMs + DAY_MS + RETENTION_MS + DAY_MS / 2;
}
