/** A history for a seed. */
import { churn, clocks, days, fullIndex, hostile, longSessions } from "./fault-themes.ts";
import type { History } from "./history.ts";
import { Random } from "./random.ts";
import { anything, coldBurst, crowd, evictions, hanging, manyChats, oddFirst, slowOnce, type Theme } from "./themes.ts";

/** Themes with how often they come; the longest last, so that a slice has one of each of the others. */
export const THEMES: Readonly<Record<string, readonly [weight: number, theme: Theme]>> = {
  anything: [14, anything],
  coldBurst: [6, coldBurst],
  oddFirst: [6, oddFirst],
  evictions: [6, evictions],
  crowd: [5, crowd],
  hanging: [5, hanging],
  churn: [12, churn],
  clocks: [6, clocks],
  longSessions: [5, longSessions],
  fullIndex: [3, fullIndex],
  days: [1, days],
  hostile: [12, hostile],
  slowOnce: [4, slowOnce],
  manyChats: [2, manyChats],
};

export function themeOf(seed: number): string {
  return new Random(seed).weighed(Object.entries(THEMES).map(([name, [weight]]) => [weight, name] as const));
}

export function historyOf(seed: number, name = themeOf(seed)): History {
  const theme = THEMES[name];
  if (theme === undefined) throw new RangeError(`no theme ${name}`);
  const [, make] = theme;
  // Its own stream: the choice of the theme took a number of the other.
  return make(new Random(Math.imul(seed, 0x9e3779b1) ^ 0x5bd1e995));
}
