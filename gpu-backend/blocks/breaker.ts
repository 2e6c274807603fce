/** A circuit breaker: after a number of failures in a row, one try is made in each pause. */
interface BreakerOptions {
  failures: number;
  pauseMs: number;
  now: () => number;
}

export class Breaker {
  readonly #options: BreakerOptions;
  #failed = 0;
  #nextTryAtMs = 0;

  constructor(options: BreakerOptions) {
    this.#options = options;
  }

  get open(): boolean {
    return this.#failed >= this.#options.failures;
  }

  /** Whether to try; while open, the first to ask after a pause may. */
  allow(): boolean {
    if (!this.open) return true;
    const now = this.#options.now();
    if (now < this.#nextTryAtMs) return false;
    this.#nextTryAtMs = now + this.#options.pauseMs;
    return true;
  }

  /** True when this ended an outage. */
  succeeded(): boolean {
    const ended = this.open;
    this.#failed = 0;
    return ended;
  }

  failed(): void {
    this.#failed++;
    this.#nextTryAtMs = this.#options.now() + this.#options.pauseMs;
  }
}
