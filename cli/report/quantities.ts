/** Numbers as a reader wants them: three digits, units, no more. */

const NONE = "–";

/** @example milliseconds(1234) // "1.23 s" */
export function milliseconds(ms: number): string {
  if (!Number.isFinite(ms)) return NONE;
  if (ms >= 999.5) return `${digits(ms / 1_000)} s`;
  return `${digits(ms)} ms`;
}

/** @example percent(0.4321) // "43.2 %" */
export function percent(share: number): string {
  return Number.isFinite(share) ? `${(share * 100).toFixed(1)} %` : NONE;
}

/** @example times(0.8612) // "0.86×" */
export function times(ratio: number): string {
  if (ratio === Infinity) return "∞";
  if (!Number.isFinite(ratio)) return NONE;
  return `${ratio >= 99.5 ? ratio.toFixed(0) : ratio >= 9.95 ? ratio.toFixed(1) : ratio.toFixed(2)}×`;
}

/** The same with a third place, for what lies on a border. */
export function timesFinely(ratio: number): string {
  return ratio < 9.95 ? `${ratio.toFixed(3)}×` : times(ratio);
}

/** A number as short as it can be said, to three digits: for loads, ticks and counts. @example plain(2.5) // "2.5" */
export function plain(value: number): string {
  if (!Number.isFinite(value)) return NONE;
  return Math.abs(value) >= 1_000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
}

/** Three digits that count. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return NONE;
  const size = Math.abs(value);
  if (size >= 99.95) return Math.round(value).toLocaleString("en");
  if (size >= 9.995) return value.toFixed(1);
  return value === 0 ? "0" : value.toFixed(2);
}
