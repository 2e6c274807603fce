/** Prefills that a receiver has not fetched whole: kept until the ticket expires, so that a second try gets the same bytes. */
import type { Prefilled } from "../engine/engine.ts";

interface PendingPrefill {
  prefilled: Prefilled;
  bytes: number;
  timer: NodeJS.Timeout;
}

export class PendingPrefills {
  readonly #budgetBytes: number;
  readonly #byName = new Map<string, PendingPrefill>();
  #usedBytes = 0;

  constructor(budgetBytes: number) {
    this.#budgetBytes = budgetBytes;
  }

  get count(): number {
    return this.#byName.size;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Without room it is dropped: a second try computes again what the engine no longer holds. */
  keep(name: string, prefilled: Prefilled, forMs: number): void {
    this.drop(name);
    const bytes = prefilled.blocks.reduce((sum, { data }) => sum + data.byteLength, prefilled.tail.data.byteLength);
    if (forMs <= 0 || this.#usedBytes + bytes > this.#budgetBytes) return;
    const timer = setTimeout(() => this.drop(name), forMs).unref();
    this.#byName.set(name, { prefilled, bytes, timer });
    this.#usedBytes += bytes;
  }

  take(name: string): Prefilled | null {
    const pending = this.#byName.get(name);
    this.drop(name);
    return pending?.prefilled ?? null;
  }

  drop(name: string): void {
    const pending = this.#byName.get(name);
    if (pending === undefined) return;
    clearTimeout(pending.timer);
    this.#byName.delete(name);
    this.#usedBytes -= pending.bytes;
  }

  clear(): void {
    for (const name of this.#byName.keys()) this.drop(name);
  }
}
