/** The one timer of a request: all that it waits for with a limit counts its ticks, as making and clearing a timer for each costs more than the waiting. */

/** Between two ticks; limits are met to within one. */
export const TICK_MS = 1_000;
/** A request whose body took longer to come was cut. */
const MOST_BEFORE_MS = 120_000;

export class Ticker {
  readonly #listeners = new Set<() => void>();
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #startedAtMs: number;
  readonly #beforeMs: number;
  #ticks = 0;

  /** `arrivedAtMs`: when its request came, wall clock; absent: now. */
  constructor(arrivedAtMs = Date.now()) {
    this.#startedAtMs = Date.now();
    this.#beforeMs = Math.min(MOST_BEFORE_MS, Math.max(0, this.#startedAtMs - arrivedAtMs));
    this.#timer = setInterval(() => {
      this.#ticks++;
      for (const listener of this.#listeners) listener();
    }, TICK_MS);
  }

  /** Since its request came, ms. By the wall clock, which may be set at any time, but within a tick of what the ticks say. */
  get waitedMs(): number {
    const wallMs = Date.now() - this.#startedAtMs;
    return this.#beforeMs + Math.min((this.#ticks + 1) * TICK_MS, Math.max((this.#ticks - 1) * TICK_MS, wallMs, 0));
  }

  /** At every tick from now on, until what it returns is called. */
  each(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Once, after `ms` and less than a tick more, unless what it returns is called before. */
  after(ms: number, late: () => void): () => void {
    // The first tick may come at once.
    let left = Math.ceil(ms / TICK_MS) + 1;
    const stop = this.each(() => {
      if (--left > 0) return;
      stop();
      late();
    });
    return stop;
  }

  /** No tick comes any more. */
  stop(): void {
    clearInterval(this.#timer);
    this.#listeners.clear();
  }
}
