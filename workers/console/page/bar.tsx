import type { BarPart } from "./bar-part.ts";

const WIDTH = 100;

/** Shares of a whole, one behind the other, as a bar. `label` says the same in words. */
export function Bar({ parts, whole, label }: { parts: readonly BarPart[]; whole: number; label: string }) {
  const ends = parts.map((_, index) => parts.slice(0, index + 1).reduce((sum, { size }) => sum + Math.max(0, size), 0));
  const place = (size: number): number => (whole > 0 ? Math.min(WIDTH, (WIDTH * size) / whole) : 0);
  return (
    <svg class="bar" viewBox={`0 0 ${WIDTH} 4`} preserveAspectRatio="none" role="img" aria-label={label}>
      <rect width={WIDTH} height="4" />
      {parts.map(({ kind }, index) => {
        const from = place(ends[index - 1] ?? 0);
        return <rect key={kind} class={kind} x={from} width={place(ends[index] ?? 0) - from} height="4" />;
      })}
    </svg>
  );
}
