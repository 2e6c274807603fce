/** Keeps an edge running at one port: whatever ends it, it is started again. */
import type { ChildProcess } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import type { EdgeProcess } from "./edge.ts";
import { endOf, type LaunchMessages } from "./launch-messages.ts";

const RESTART_MS = 100;
const RESTART_MOST_MS = 10_000;
/** A port that was free is tried again for this long: an outgoing connection may have it for a moment. */
const PORT_PATIENCE_MS = 15_000;
const PORT_RETRY_MS = 500;

interface EdgeStarter {
  /** One try. `spawned` is called with its process as soon as there is one. */
  begin(spawned: (process: ChildProcess) => void): Promise<EdgeProcess>;
  /** It is there, or is not there any more. */
  changed(): void;
  /** The edge ended. False: it is not started again. */
  ended(): boolean;
  watch(pid: number | undefined): void;
  forget(pid: number | undefined): void;
}

export class EdgeKeeper {
  readonly #starter: EdgeStarter;
  readonly #messages: LaunchMessages;
  /** What the edge runs in, from the moment it is spawned. */
  #edge: ChildProcess | null = null;
  #isOver = false;

  constructor(starter: EdgeStarter, messages: LaunchMessages) {
    this.#starter = starter;
    this.#messages = messages;
  }

  get pid(): number | undefined {
    return this.#edge?.pid;
  }

  /** Null: it listens; else why it can't. */
  async start(): Promise<string | null> {
    const beganMs = performance.now();
    let edge = await this.#try();
    while (edge.type === "failed" && edge.taken === true && performance.now() - beganMs < PORT_PATIENCE_MS && !this.#isOver) {
      await sleep(PORT_RETRY_MS);
      edge = await this.#try();
    }
    if (edge.type === "failed") return edge.message;
    this.#follow(edge.process);
    return null;
  }

  /** At once, and for good. With a socket open workerd would not go on SIGTERM; nothing stored is lost by this. */
  end(): void {
    this.#isOver = true;
    this.#edge?.kill("SIGINT");
  }

  #try(): Promise<EdgeProcess> {
    return this.#starter.begin((child) => {
      // From its first moment on: whatever ends the launcher meanwhile, it must not stay.
      if (this.#isOver) return void child.kill("SIGKILL");
      this.#edge = child;
      this.#starter.watch(child.pid);
      child.once("exit", () => {
        this.#starter.forget(child.pid);
        if (this.#edge === child) this.#edge = null;
      });
    });
  }

  #follow(edge: ChildProcess): void {
    const ended = (): void => {
      this.#edge = null;
      this.#starter.changed();
      if (this.#isOver || !this.#starter.ended()) return;
      this.#messages.died("The edge", endOf(edge.exitCode, edge.signalCode));
      void this.#restart();
    };
    this.#starter.changed();
    // It may have ended since it said that it listens.
    if (edge.exitCode !== null || edge.signalCode !== null) ended();
    else edge.once("exit", ended);
  }

  /** Again and again, ever later: what replicas hold is worth waiting for. */
  async #restart(): Promise<void> {
    for (let againMs = RESTART_MS; !this.#isOver; againMs = Math.min(RESTART_MOST_MS, 2 * againMs)) {
      await sleep(againMs);
      if (this.#isOver) return;
      const edge = await this.#try();
      if (edge.type === "running") {
        this.#messages.joined("The edge", 1, 1);
        return this.#follow(edge.process);
      }
      if (!this.#starter.ended()) return;
      this.#messages.news(`${edge.message} It is tried again.`, "bad");
    }
  }
}
