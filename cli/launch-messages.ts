/** The launcher's lines while it starts and when something that runs changes. Never a key, a prompt or an answer. */
import { type Outputs, Terminal, type Tone } from "./terminal.ts";

/** Loading that takes no longer needs no bar. */
const SOON_MS = 800;

export class LaunchMessages {
  readonly #outputs: Outputs;
  readonly #log: (line: string) => void;
  /** Names of processes that died and are not back yet. */
  readonly #away = new Set<string>();
  /** How much of its model each has that loads one, 0 to 1. */
  readonly #loaded = new Map<string, number>();
  readonly #nowMs: () => number;
  #loadingSinceMs: number | null = null;
  #isReady = false;

  /** `log`: gets every line too. */
  constructor(outputs: Outputs = new Terminal(), log: (line: string) => void = () => undefined, nowMs = () => performance.now()) {
    this.#outputs = outputs;
    this.#log = log;
    this.#nowMs = nowMs;
  }

  /** `replicas`: all of them. */
  begins(url: string, replicas: number, stateDirectory: string): void {
    const count = replicas === 0 ? "no replica" : `${replicas} replica${replicas === 1 ? "" : "s"}`;
    this.#progress(`Warmpath starts: the edge at ${url} and ${count}. State in ${stateDirectory}.`);
  }

  /** Something takes a while, at the first start only. */
  making(what: string): void {
    this.step(`making ${what}, once`);
  }

  /** The same of what comes from elsewhere. */
  fetching(what: string): void {
    this.step(`fetching ${what}, once`);
  }

  step(what: string): void {
    if (!this.#isReady) this.#progress(`  ${what}`);
  }

  /** Bytes of `what` that have come; `of`: about how many there are. */
  moved(what: string, bytes: number, of: number): void {
    if (this.#isReady) return;
    const megabytes = (count: number): string => (count / 1e6).toFixed(0);
    this.#outputs.bar(what, of > 0 ? Math.min(1, bytes / of) : 0, `${megabytes(Math.min(bytes, of))} of ${megabytes(of)} MB`);
  }

  /** `part`: what a replica has loaded of its model, 0 to 1. A short load is not shown. */
  loading(name: string, part: number): void {
    if (this.#isReady) return;
    this.#loadingSinceMs ??= this.#nowMs();
    this.#loaded.set(name, part);
    if (this.#nowMs() - this.#loadingSinceMs < SOON_MS) return;
    const all = [...this.#loaded.values()].reduce((sum, each) => sum + each, 0) / this.#loaded.size;
    this.#outputs.bar("loading the model", all, `${Math.round(all * 100)} %`);
  }

  /** A replica has joined; `here` of `wanted` have. */
  joined(name: string, here: number, wanted: number): void {
    this.step(`${name} is here (${here} of ${wanted})`);
    if (this.#away.delete(name)) this.news(`${name} is back.`, "good");
  }

  /** @param how a signal's name, or `code 1`. Before all is ready nothing is said: what went wrong is. */
  died(name: string, how: string): void {
    if (!this.#isReady) return this.#log(`${name} died (${how}).`);
    this.#away.add(name);
    this.news(`${name} died (${how}), starting again.`, "bad");
  }

  news(line: string, tone: Tone = "plain"): void {
    this.#log(line);
    this.#outputs.news(line, tone);
  }

  /** A line of another process, unchanged. */
  quote(line: string): void {
    this.#outputs.progress(line);
  }

  /** The screen is shown. */
  ready(): void {
    this.#outputs.endBar();
    this.#isReady = true;
    this.#log("Ready.");
  }

  #progress(line: string): void {
    this.#log(line.trimStart());
    this.#outputs.progress(line);
  }
}

/** How a process ended. */
export function endOf(code: number | null, signal: NodeJS.Signals | null): string {
  return signal ?? `code ${code}`;
}
