/**
 * For how long a request's answer may still get a real status. A client that goes away is shown by the platform only when bytes are written to it
 * (docs/decisions/0019): after this its headers go out, and something harmless with them.
 */
import { TICK_MS, type Ticker } from "../ticker.ts";

/** In line, where refusals come at once or never. */
const IN_LINE_MS = 10_000;
/** At a replica: what it refuses it mostly refuses by then, and short answers are here. */
const ACCEPTED_MS = 3_000;

export class Patience<Accepted> {
  readonly over: Promise<void>;
  readonly #ticker: Ticker;
  readonly #end: () => void;
  readonly #stops: (() => void)[] = [];
  #by: Accepted | null = null;

  constructor(ticker: Ticker) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.over = promise;
    this.#end = resolve;
    this.#ticker = ticker;
    this.#stops.push(ticker.after(IN_LINE_MS, resolve));
  }

  /** The replica that has the request; null: none has it yet. */
  get by(): Accepted | null {
    return this.#by;
  }

  /** A replica has the request. The time of the first one counts. */
  accepted(by: Accepted): void {
    const isFirst = this.#by === null;
    this.#by = by;
    if (!isFirst) return;
    const acceptedAtMs = Date.now();
    // Most are answered before a tick comes, and need no timer of their own.
    const stop = this.#ticker.each(() => {
      stop();
      const passedMs = Math.min(TICK_MS, Math.max(0, Date.now() - acceptedAtMs));
      const timer = setTimeout(this.#end, ACCEPTED_MS - passedMs);
      this.#stops.push(() => clearTimeout(timer));
    });
    this.#stops.push(stop);
  }

  /** Nobody waits for it any more. */
  stop(): void {
    for (const stop of this.#stops) stop();
  }
}
