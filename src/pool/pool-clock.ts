/**
 * The time that one pool goes by: it never goes back, and it goes on while the machine's clock is set back or forward.
 *
 * A pool reads a wall clock only, and at least every 250 ms while anybody is here. So a reading that lies before the last one, or far behind
 * it, is a clock that was set, or a pool that stood still: neither says that replicas were silent. As in chrony and ntpd, what is left of the
 * difference is made up by going a little faster or slower.
 *
 * Example: read at 0, 250 and 3,600,500 ms (set forward by an hour), the clock says 0, 250 and 1,260.
 */

/** Between two readings at most so much time passes, ms. */
export const MOST_STEP_MS = 1_000;
/** Share of the passing time by which a difference from the wall clock shrinks: 1 s in 100 s. */
export const SLEW = 0.01;

export class PoolClock {
  #wallMs: number;
  #nowMs: number;
  #resting = false;

  /** `wallMs`: the wall clock now, ms since 1970. */
  constructor(wallMs: number) {
    this.#wallMs = wallMs;
    this.#nowMs = wallMs;
  }

  /** The pool's time now, whole ms. A reading that is not finite changes nothing. */
  at(wallMs: number): number {
    if (!Number.isFinite(wallMs)) return Math.floor(this.#nowMs);
    const steppedMs = Math.max(0, wallMs - this.#wallMs);
    const passedMs = this.#resting ? steppedMs : Math.min(MOST_STEP_MS, steppedMs);
    this.#resting = false;
    this.#wallMs = wallMs;
    const behindMs = wallMs - (this.#nowMs + passedMs);
    const mostMs = SLEW * passedMs;
    this.#nowMs += passedMs + Math.min(mostMs, Math.max(-mostMs, behindMs));
    return Math.floor(this.#nowMs);
  }

  /** Nobody is here, and nothing reads the clock from now on: the time until the next reading is believed, however long. */
  rest(): void {
    this.#resting = true;
  }
}
