/** What the launcher says while it starts, and when something that runs changes: a line each. Never a key, a prompt or an answer. */

export interface Outputs {
  /** Progress, until the screen that says that all is ready. */
  progress(line: string): void;
  /** What happens afterwards. */
  news(line: string): void;
}

const STANDARD: Outputs = {
  progress: (line) => void process.stdout.write(`${line}\n`),
  news: (line) => void process.stderr.write(`${line}\n`),
};

export class Voice {
  readonly #outputs: Outputs;
  /** Died, and not back yet. */
  readonly #away = new Set<string>();
  #isReady = false;

  constructor(outputs = STANDARD) {
    this.#outputs = outputs;
  }

  /** `replicas`: all of them. */
  begins(url: string, replicas: number, stateDirectory: string): void {
    const count = `${replicas} replica${replicas === 1 ? "" : "s"}`;
    this.#outputs.progress(`Warmpath starts: the edge at ${url} and ${count}. State in ${stateDirectory}.`);
  }

  /** Something takes a while, at the first start only. */
  making(what: string): void {
    this.step(`making ${what}, once`);
  }

  step(what: string): void {
    if (!this.#isReady) this.#outputs.progress(`  ${what}`);
  }

  /** A replica has joined; `here` of `wanted` have. */
  joined(name: string, here: number, wanted: number): void {
    this.step(`${name} is here (${here} of ${wanted})`);
    if (this.#away.delete(name)) this.#outputs.news(`${name} is back.`);
  }

  /** @param how a signal's name, or `code 1`. Before all is ready nothing is said: what went wrong is. */
  died(name: string, how: string): void {
    if (!this.#isReady) return;
    this.#away.add(name);
    this.#outputs.news(`${name} ended (${how}). It is started again.`);
  }

  /** The screen is shown. */
  ready(): void {
    this.#isReady = true;
  }
}

/** How a process ended. */
export function endOf(code: number | null, signal: NodeJS.Signals | null): string {
  return signal ?? `code ${code}`;
}
