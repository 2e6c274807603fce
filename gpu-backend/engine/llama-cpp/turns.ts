/** Long work in short turns on one thread: whoever has worked for a turn lets all else run first, and of several that do, one works in each. */

/** Work that takes longer goes on in another turn, ms. */
const TURN_MS = 10;

interface Turn {
  /** It has worked for as long as it may. */
  readonly isOver: boolean;
  /** Resolves when it may go on; it must then work or be done without waiting for anything else. */
  next(): Promise<void>;
}

export class Turns {
  readonly #waiting: (() => void)[] = [];
  readonly #nowMs: () => number;
  readonly #later: (run: () => void) => void;
  #scheduled = false;

  /** `later`: calls back when all that has come meanwhile was looked at (`setImmediate`). */
  constructor(nowMs: () => number, later: (run: () => void) => void) {
    this.#nowMs = nowMs;
    this.#later = later;
  }

  begin(): Turn {
    let endsAtMs = this.#nowMs() + TURN_MS;
    const nowMs = this.#nowMs;
    return {
      get isOver() {
        return nowMs() >= endsAtMs;
      },
      next: async () => {
        await new Promise<void>((resolve) => {
          this.#waiting.push(resolve);
          this.#schedule();
        });
        endsAtMs = nowMs() + TURN_MS;
      },
    };
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#later(() => {
      this.#scheduled = false;
      this.#waiting.shift()?.();
      if (this.#waiting.length > 0) this.#schedule();
    });
  }
}
