/** Numbers as the page writes them. */

/** A time in ms: `8.4 ms`, `120 ms`, `2.1 s`. */
export function time(ms: number): string {
  if (ms >= 1_000) return `${(ms / 1_000).toFixed(1)} s`;
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

/** `12,345`. */
export const count = (value: number): string => value.toLocaleString("en-US");

/** `3 requests`, `1 request`. */
export const counted = (value: number, one: string): string => `${count(value)} ${one}${value === 1 ? "" : "s"}`;
