/**
 * What a medium turned out to hold. One that says "full" before the budget is used (others write there too) holds what we use at that moment, until it is tried again: so the
 * newest blocks drive out the oldest, as they do at the budget, and a medium that has room again is used again.
 */
interface CeilingOptions {
  budgetBytes: number;
  /** Milliseconds. */
  now: () => number;
}

const RETRY_MS = 30_000;

export class Ceiling {
  readonly #options: CeilingOptions;
  #heldBytes = Infinity;
  #retryAtMs = 0;

  constructor(options: CeilingOptions) {
    this.#options = options;
  }

  /** What may be used now. */
  get bytes(): number {
    const { budgetBytes, now } = this.#options;
    if (now() >= this.#retryAtMs) this.#heldBytes = Infinity;
    return Math.min(budgetBytes, this.#heldBytes);
  }

  /** The disk or store was full while this tier used `usedBytes`. */
  full(usedBytes: number): void {
    this.#heldBytes = usedBytes;
    this.#retryAtMs = this.#options.now() + RETRY_MS;
  }
}
