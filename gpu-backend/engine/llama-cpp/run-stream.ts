/** A run as its consumer sees it: events wait here until pulled, and pulling is what lets the engine go on. */
import type { EngineEvent } from "../engine.ts";
import { acknowledgeEvery } from "./messages.ts";

interface RunStreamHooks {
  acknowledge(deltas: number): void;
  cancel(): void;
}

export class RunStream implements AsyncIterableIterator<EngineEvent> {
  readonly #hooks: RunStreamHooks;
  readonly #events: EngineEvent[] = [];
  #pulled: ((result: IteratorResult<EngineEvent>) => void) | undefined;
  #unacknowledged = 0;
  #ended = false;
  #promptTokens = 0;
  #cachedTokens = 0;
  #outputTokens = 0;

  constructor(hooks: RunStreamHooks) {
    this.#hooks = hooks;
  }

  push(event: EngineEvent): void {
    if (this.#ended) return;
    if (event.type === "queued") this.#promptTokens = event.promptTokens;
    if (event.type === "started") this.#cachedTokens = event.cachedTokens;
    if (event.type === "delta") this.#outputTokens += event.tokens;
    if (event.type === "finished") this.#ended = true;
    const pulled = this.#pulled;
    this.#pulled = undefined;
    if (pulled === undefined) this.#events.push(event);
    else pulled({ done: false, value: this.#count(event) });
  }

  /** The engine died under the run. */
  fail(message: string): void {
    const counts = { promptTokens: this.#promptTokens, cachedTokens: this.#cachedTokens, outputTokens: this.#outputTokens };
    this.push({ type: "finished", reason: "error", ...counts, prefillMs: 0, decodeMs: 0, stopText: null, message });
  }

  next(): Promise<IteratorResult<EngineEvent>> {
    const event = this.#events.shift();
    if (event !== undefined) return Promise.resolve({ done: false, value: this.#count(event) });
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => (this.#pulled = resolve));
  }

  /** Leaving the loop early gives the run up. */
  return(): Promise<IteratorResult<EngineEvent>> {
    if (!this.#ended) this.#hooks.cancel();
    this.#ended = true;
    this.#events.length = 0;
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #count(event: EngineEvent): EngineEvent {
    if (event.type === "delta" && ++this.#unacknowledged >= acknowledgeEvery) {
      if (!this.#ended) this.#hooks.acknowledge(this.#unacknowledged);
      this.#unacknowledged = 0;
    }
    return event;
  }
}
