/** Questions that wait for the child's answer. */
import type { Answer } from "./messages.ts";

export class Questions {
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #next = 0;

  /** Never rejects: a lost child is a "failed". */
  ask(send: (id: number) => void): Promise<Answer> {
    const id = this.#next++;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      send(id);
    });
  }

  answer(id: number, answer: Answer): void {
    this.#waiting.get(id)?.(answer);
    this.#waiting.delete(id);
  }

  fail(message: string): void {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const resolve of waiting) resolve({ type: "failed", message });
  }
}
