/** Lines about a state: one at each change; the same again, and changes that come too fast, are held back. */

/** The same line is written at most once in this time. */
const REPEAT_MS = 60_000;
/** So many changes in that time are said at once; what comes after them is said when the time is over, if it is still so. */
const MAX_CHANGES = 6;

export interface Clock {
  nowMs(): number;
  later(ms: number, run: () => void): void;
}

export class ChangeLines<What> {
  readonly #say: (line: string, what: What) => void;
  readonly #clock: Clock;
  #last: { key: string; atMs: number } | null = null;
  /** Times of the last changes that were said. */
  #changesAtMs: number[] = [];
  #held: { key: string; line: string; what: What } | null = null;
  #isWaiting = false;

  constructor(say: (line: string, what: What) => void, clock: Clock) {
    this.#say = say;
    this.#clock = clock;
  }

  /** The state is this now. Lines that differ in numbers only are the same. */
  now(line: string, what: What): void {
    const nowMs = this.#clock.nowMs();
    const key = line.replaceAll(/\d+/g, "#");
    if (key === this.#last?.key) {
      this.#held = null;
      if (nowMs - this.#last.atMs < REPEAT_MS) return;
      this.#last.atMs = nowMs;
      return this.#say(line, what);
    }
    this.#changesAtMs = this.#changesAtMs.filter((atMs) => nowMs - atMs < REPEAT_MS);
    const [oldestAtMs = nowMs] = this.#changesAtMs;
    if (this.#changesAtMs.length < MAX_CHANGES) {
      this.#changesAtMs.push(nowMs);
      this.#last = { key, atMs: nowMs };
      this.#held = null;
      return this.#say(line, what);
    }
    this.#held = { key, line, what };
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    this.#clock.later(oldestAtMs + REPEAT_MS - nowMs, () => {
      this.#isWaiting = false;
      if (this.#held !== null) this.now(this.#held.line, this.#held.what);
    });
  }
}
