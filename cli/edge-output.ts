/** What the edge's process writes, line by line: all of it goes to the log, little of it to the screen. */
import { CONNECTION_ENDS } from "../src/wire/connection-ends.ts";
import { refusedLine } from "./request-line.ts";

interface EdgeEars {
  /** Every line that is no request. */
  log(line: string): void;
  request(line: string): void;
  /** The Worker met with what should not happen; at most once a minute. */
  problem(): void;
}

const PROBLEM_MS = 60_000;
/** As workers/app.ts begins its word on an error that nobody expected. */
const UNEXPECTED = /\bunexpected: /;

export class EdgeOutput {
  readonly #ears: EdgeEars;
  readonly #nowMs: () => number;
  #problemAtMs = Number.NEGATIVE_INFINITY;

  constructor(ears: EdgeEars, nowMs = () => performance.now()) {
    this.#ears = ears;
    this.#nowMs = nowMs;
  }

  line(line: string): void {
    // Strangers could fill the log with it.
    if (line.includes(CONNECTION_ENDS)) return;
    const request = refusedLine(line);
    if (request !== null) return this.#ears.request(request);
    this.#ears.log(line);
    if (!UNEXPECTED.test(line) || this.#nowMs() - this.#problemAtMs < PROBLEM_MS) return;
    this.#problemAtMs = this.#nowMs();
    this.#ears.problem();
  }
}

/** The first words of workerd's errors, without its source lines and its stack. */
export function firstWords(errors: string): string {
  const [line = ""] = errors.split("\n").filter((each) => each.trim() !== "");
  return line
    .replace(/^\*\*\* Fatal uncaught kj::Exception: /, "")
    .replace(/^\S+\.(?:c\+\+|h):\d+: /, "")
    .replace(/^(?:error|fatal|failed|warning|info): /, "")
    .replace(/; stack:?.*$/, "")
    .slice(0, 300)
    .trim();
}
