/** The progress of a long command, on stderr: on a terminal one line with a bar, written over; elsewhere plain lines. */
import process from "node:process";

export interface ProgressScreen {
  isTerminal: boolean;
  /** False where `NO_COLOR` is set (https://no-color.org). */
  hasColour: boolean;
  columns: number;
  write: (text: string) => void;
  /** A clock that does not go back. */
  nowMs: () => number;
}

const BAR_COLUMNS = 24;
const DRAWN_EVERY_MS = 100;
const PLAIN_EVERY_MS = 10_000;
const CLEAR = "\r\u001b[K";
const COLOUR = "\u001b[36m";
const NO_COLOUR = "\u001b[39m";

export const stderrScreen = (): ProgressScreen => ({
  isTerminal: process.stderr.isTTY === true,
  hasColour: (process.env.NO_COLOR ?? "") === "",
  columns: process.stderr.columns ?? 80,
  write: (text) => void process.stderr.write(text),
  nowMs: () => performance.now(),
});

export class RunProgress {
  readonly #screen: ProgressScreen;
  readonly #steps: number;
  #done = 0;
  #what = "";
  #writtenAtMs = Number.NEGATIVE_INFINITY;

  /** `steps`: how many there are in all. */
  constructor(steps: number, screen: ProgressScreen) {
    this.#steps = steps;
    this.#screen = screen;
  }

  /** A step begins. */
  begin(what: string): void {
    this.#what = what;
    this.#write(0, "");
  }

  /** @param share of the step that is done, 0 to 1. @param note what else is known of it. */
  at(share: number, note: string): void {
    const { isTerminal, nowMs } = this.#screen;
    if (nowMs() - this.#writtenAtMs < (isTerminal ? DRAWN_EVERY_MS : PLAIN_EVERY_MS)) return;
    this.#write(share, `: ${Math.floor(share * 100)} %, ${note}`);
  }

  /** The step has ended. */
  end(): void {
    this.#done += 1;
  }

  /** Takes the bar off the terminal, before something else is written. */
  clear(): void {
    if (this.#screen.isTerminal) this.#screen.write(CLEAR);
  }

  #write(share: number, note: string): void {
    const { isTerminal, write, nowMs } = this.#screen;
    this.#writtenAtMs = nowMs();
    const line = `${this.#done + 1} of ${this.#steps}: ${this.#what}${note}`;
    write(isTerminal ? `${CLEAR}${this.#bar((this.#done + share) / this.#steps)} ${this.#cut(line)}` : `${line}\n`);
  }

  #bar(share: number): string {
    const full = Math.round(Math.min(1, share) * BAR_COLUMNS);
    const [done, open] = ["█".repeat(full), "░".repeat(BAR_COLUMNS - full)];
    return this.#screen.hasColour ? `${COLOUR}${done}${NO_COLOUR}${open}` : done + open;
  }

  /** A line that wraps could not be written over. */
  #cut(line: string): string {
    return line.slice(0, Math.max(0, this.#screen.columns - BAR_COLUMNS - 2));
  }
}
