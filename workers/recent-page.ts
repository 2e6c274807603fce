/** A page that is made at most once a second however often it is asked for: each making asks every pool. */
import { steadyNowMs } from "./steady-clock.ts";

const FRESH_MS = 1_000;
/** A maker whose client has left may never be done. */
const PATIENCE_MS = 3_000;
const POLL_MS = 20;

/** Of this isolate. What one request waits for must not be another request's promise: that one may be cancelled with its client. */
export class RecentPage<T> {
  #page: { value: T; madeAtMs: number } | null = null;
  #beganAtMs = -Infinity;

  /** `anew`: the caller may have it made now. */
  async read(make: () => Promise<T>, anew = false): Promise<T> {
    for (;;) {
      const nowMs = steadyNowMs();
      if (!anew && this.#page !== null && nowMs - this.#page.madeAtMs < FRESH_MS) return this.#page.value;
      if (anew || nowMs - this.#beganAtMs > PATIENCE_MS) break;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    const beganAtMs = steadyNowMs();
    this.#beganAtMs = beganAtMs;
    try {
      const value = await make();
      this.#page = { value, madeAtMs: steadyNowMs() };
      return value;
    } finally {
      if (this.#beganAtMs === beganAtMs) this.#beganAtMs = -Infinity;
    }
  }
}
