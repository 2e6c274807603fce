/** Where a command speaks: plain lines, and on a terminal also colour and a bar that moves. */
import { stripVTControlCharacters } from "node:util";

export type Tone = "plain" | "good" | "bad";

export interface Outputs {
  /** Progress, until the screen that says that all is ready. */
  progress(line: string): void;
  /** What happens afterwards. */
  news(line: string, tone?: Tone): void;
  /** `part`: 0 to 1 of what moves. */
  bar(what: string, part: number, detail: string): void;
  endBar(): void;
}

interface Stream {
  write(text: string): unknown;
  isTTY?: boolean;
}

const COLOUR: Readonly<Record<Tone, string>> = { plain: "", good: "\x1b[32m", bad: "\x1b[31m" };
const RESET = "\x1b[0m";
const CLEAR_LINE = "\r\x1b[2K";
const BAR_CELLS = 24;
const REDRAW_MS = 100;
/** Elsewhere than on a terminal a bar is a line at each quarter. */
const QUARTERS = 4;

export class Terminal implements Outputs {
  readonly #stdout: Stream;
  readonly #stderr: Stream;
  readonly #isLive: boolean;
  readonly #hasColour: boolean;
  readonly #nowMs: () => number;
  /** The text of the bar that stands at the bottom now. */
  #bar = "";
  #drawnAtMs = Number.NEGATIVE_INFINITY;
  #saidQuarter = 0;
  /** The bar that has done its work: more of the same moves nothing. */
  #full = "";

  /** No colour where NO_COLOR is set (no-color.org); no bar on a terminal that can't go back in its line. */
  constructor(
    streams: { stdout: Stream; stderr: Stream } = process,
    environment: NodeJS.ProcessEnv = process.env,
    nowMs = () => performance.now(),
  ) {
    this.#stdout = streams.stdout;
    this.#stderr = streams.stderr;
    this.#isLive = streams.stdout.isTTY === true && environment["TERM"] !== "dumb";
    this.#hasColour = this.#isLive && streams.stderr.isTTY === true && (environment["NO_COLOR"] ?? "") === "";
    this.#nowMs = nowMs;
  }

  progress(line: string): void {
    const shown = this.#hasColour ? line : stripVTControlCharacters(line);
    this.#above(() => this.#stdout.write(`${shown}\n`));
  }

  news(line: string, tone: Tone = "plain"): void {
    const colour = this.#hasColour ? COLOUR[tone] : "";
    this.#above(() => this.#stderr.write(colour === "" ? `${line}\n` : `${colour}${line}${RESET}\n`));
  }

  /** `part`: 0 to 1; at 1 the bar has done its work. */
  bar(what: string, part: number, detail: string): void {
    if (what === this.#full) return;
    this.#full = part >= 1 ? what : "";
    if (!this.#isLive) return this.#quarter(what, part, detail);
    const full = Math.round(Math.min(1, Math.max(0, part)) * BAR_CELLS);
    this.#bar = `  ${what} [${"#".repeat(full)}${".".repeat(BAR_CELLS - full)}] ${detail}`;
    if (part < 1 && this.#nowMs() - this.#drawnAtMs < REDRAW_MS) return;
    this.#drawnAtMs = this.#nowMs();
    this.#stdout.write(`${CLEAR_LINE}${this.#bar}`);
    if (part < 1) return;
    this.#bar = "";
    this.#stdout.write("\n");
  }

  /** What stood for a bar goes; nothing is said. */
  endBar(): void {
    if (this.#bar !== "") this.#stdout.write(CLEAR_LINE);
    this.#bar = "";
    this.#full = "";
    this.#saidQuarter = 0;
  }

  #quarter(what: string, part: number, detail: string): void {
    const quarter = Math.floor(part * QUARTERS);
    if (quarter > this.#saidQuarter) this.#stdout.write(`  ${what}: ${detail}\n`);
    this.#saidQuarter = part >= 1 ? 0 : quarter;
  }

  #above(write: () => void): void {
    if (this.#bar === "") return write();
    this.#stdout.write(CLEAR_LINE);
    write();
    this.#stdout.write(this.#bar);
  }
}
