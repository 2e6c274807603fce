/** The watchdog as the launcher sees it: started again when it dies, with all that it has to watch. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { withoutOurs } from "../gpu-backend/environment.ts";

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 5_000;
/** After this time alive, the count of deaths begins anew. */
const STEADY_MS = 10_000;

export class Watchdog {
  readonly #devFile: string;
  readonly #watched = new Map<number, NodeJS.Signals>();
  #child: ChildProcess;
  #pauseMs = FIRST_PAUSE_MS;

  /** `devFile`: removed when this launcher ends. */
  constructor(devFile: string) {
    this.#devFile = devFile;
    this.#child = this.#start();
  }

  /** From the moment it is spawned; undefined: it was not. */
  watch(pid: number | undefined, signal: NodeJS.Signals): void {
    if (pid === undefined) return;
    this.#watched.set(pid, signal);
    this.#say(`+${pid} ${signal}`);
  }

  forget(pid: number | undefined): void {
    if (pid === undefined || !this.#watched.delete(pid)) return;
    this.#say(`-${pid}`);
  }

  #say(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  #start(): ChildProcess {
    const startedMs = performance.now();
    const script = join(import.meta.dirname, "watchdog.ts");
    const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", script, String(process.pid), this.#devFile], {
      detached: true,
      stdio: ["pipe", "ignore", "ignore"],
      env: withoutOurs(process.env),
    });
    child.stdin.on("error", () => undefined);
    let ended = false;
    const again = (): void => {
      if (ended) return;
      ended = true;
      if (performance.now() - startedMs > STEADY_MS) this.#pauseMs = FIRST_PAUSE_MS;
      setTimeout(() => (this.#child = this.#start()), this.#pauseMs).unref();
      this.#pauseMs = Math.min(LONGEST_PAUSE_MS, 2 * this.#pauseMs);
    };
    child.once("exit", again);
    child.once("error", again);
    for (const [pid, signal] of this.#watched) child.stdin.write(`+${pid} ${signal}\n`);
    return child;
  }
}
