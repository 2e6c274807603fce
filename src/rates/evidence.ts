/** Which sizes of prefills were reported often enough that a prediction may be held against anybody. */

/** Reports of like sizes that it takes. */
const ENOUGH_REPORTS = 8;
/** Sizes by octaves of their tokens; what is longer counts with the last. */
const OCTAVES = 24;

export class Evidence {
  readonly #reports = new Uint8Array(OCTAVES);

  add(tokens: number): void {
    const octave = octaveOf(tokens);
    this.#reports[octave] = Math.min(ENOUGH_REPORTS, (this.#reports[octave] ?? 0) + 1);
  }

  /** Enough reports of the octave of so many tokens and the two beside it. */
  has(tokens: number): boolean {
    const octave = octaveOf(tokens);
    let reports = 0;
    for (let at = octave - 1; at <= octave + 1; at++) reports += this.#reports[at] ?? 0;
    return reports >= ENOUGH_REPORTS;
  }

  /** For a checkpoint. */
  save(): number[] {
    return [...this.#reports];
  }

  restore(reports: readonly number[]): void {
    this.#reports.set(reports.slice(0, OCTAVES));
  }
}

function octaveOf(tokens: number): number {
  return Math.min(OCTAVES - 1, Math.floor(Math.log2(Math.max(1, tokens))));
}
