/** A share of a whole as a bar. `label` says the same in words. */
export function Bar({ part, whole, label }: { part: number; whole: number; label: string }) {
  const share = whole > 0 ? Math.min(1, Math.max(0, part / whole)) : 0;
  return (
    <svg class="bar" viewBox="0 0 100 4" preserveAspectRatio="none" role="img" aria-label={label}>
      <rect width="100" height="4" />
      <rect class="part" width={share * 100} height="4" />
    </svg>
  );
}
