/** Time that passes when a test says so. */
import type { Timers } from "../../gpu-backend/engine/vllm/event-reader.ts";

export class ManualTimers implements Timers {
  readonly #due = new Set<{ atMs: number; work: () => void }>();
  #nowMs = 0;

  after(ms: number, work: () => void): () => void {
    const timer = { atMs: this.#nowMs + ms, work };
    this.#due.add(timer);
    return () => this.#due.delete(timer);
  }

  /** What is due by then is done, earliest first. */
  move(ms: number): void {
    this.#nowMs += ms;
    for (;;) {
      const [first] = [...this.#due].filter(({ atMs }) => atMs <= this.#nowMs).toSorted((one, other) => one.atMs - other.atMs);
      if (first === undefined) return;
      this.#due.delete(first);
      first.work();
    }
  }
}
