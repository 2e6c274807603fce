/** Questions that wait for the child's answer. */
import type { Answer } from "./messages.ts";

export class Questions {
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  readonly #progressed = new Map<number, (tokens: number) => void>();
  #next = 0;

  /** Never rejects: a lost child is a "failed". */
  ask(send: (id: number) => void, progressed?: (tokens: number) => void): Promise<Answer> {
    const id = this.#next++;
    if (progressed !== undefined) this.#progressed.set(id, progressed);
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      send(id);
    });
  }

  progress(id: number, tokens: number): void {
    this.#progressed.get(id)?.(tokens);
  }

  answer(id: number, answer: Answer): void {
    this.#progressed.delete(id);
    this.#waiting.get(id)?.(answer);
    this.#waiting.delete(id);
  }

  fail(message: string): void {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    this.#progressed.clear();
    for (const resolve of waiting) resolve({ type: "failed", message });
  }
}
