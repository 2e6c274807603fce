/** The engine runs of one request, one a choice, as one row of events. */
import { setTimeout as sleep } from "node:timers/promises";
import type { EngineEvent, EngineRefusal, EngineRun } from "./engine/engine.ts";

export interface ChoiceEvent {
  choice: number;
  event: EngineEvent;
}

type Finished = Extract<EngineEvent, { type: "finished" }>;

interface Pulled {
  choice: number;
  iterator: AsyncIterator<EngineEvent> | null;
  result: IteratorResult<EngineEvent, unknown>;
}

/** Between two tries to run a choice for which the engine has no place yet. */
const RETRY_MS = 20;

export class Choices {
  readonly #first: EngineRun;
  readonly #count: number;
  readonly #run: (choice: number) => Promise<EngineRun | EngineRefusal>;
  readonly #runs: EngineRun[] = [];
  #cancelled = false;

  /** `first` is choice 0; the others are run once its prompt is computed, so that they find its blocks. */
  constructor(first: EngineRun, count: number, run: (choice: number) => Promise<EngineRun | EngineRefusal>) {
    this.#first = first;
    this.#count = count;
    this.#run = run;
    this.#runs.push(first);
  }

  cancel(): void {
    this.#cancelled = true;
    for (const run of this.#runs) run.abort();
  }

  /** Every choice ends with `finished`. */
  async *events(): AsyncGenerator<ChoiceEvent> {
    const pulls = new Map<number, Promise<Pulled>>();
    const pull = async (choice: number, iterator: AsyncIterator<EngineEvent>): Promise<Pulled> => ({
      choice,
      iterator,
      result: await iterator.next(),
    });
    const begin = async (choice: number): Promise<Pulled> => {
      const run = await this.#enter(choice);
      if (!("events" in run)) return { choice, iterator: null, result: { done: false, value: run } };
      return pull(choice, run.events[Symbol.asyncIterator]());
    };
    let begun = 1;
    pulls.set(0, pull(0, this.#first.events[Symbol.asyncIterator]()));
    try {
      while (pulls.size > 0) {
        const { choice, iterator, result } = await Promise.race(pulls.values());
        pulls.delete(choice);
        if (result.done === true) continue;
        if (iterator !== null) pulls.set(choice, pull(choice, iterator));
        if (result.value.type === "delta" || result.value.type === "finished") {
          for (; begun < this.#count; begun += 1) pulls.set(begun, begin(begun));
        }
        yield { choice, event: result.value };
      }
    } finally {
      this.cancel();
    }
  }

  async #enter(choice: number): Promise<EngineRun | Finished> {
    while (!this.#cancelled) {
      const begun = await this.#run(choice);
      if (begun.type === "accepted") {
        this.#runs.push(begun);
        if (this.#cancelled) begun.abort();
        return begun;
      }
      if (begun.reason !== "busy") return ended("error", begun.message);
      await sleep(RETRY_MS);
    }
    return ended("cancelled", "The request was cancelled.");
  }
}

function ended(reason: "error" | "cancelled", message: string): Finished {
  return {
    type: "finished",
    reason,
    promptTokens: 0,
    cachedTokens: 0,
    outputTokens: 0,
    prefillMs: 0,
    decodeMs: 0,
    stopText: null,
    message,
  };
}
