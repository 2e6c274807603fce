/** What was computed for a receiver and not yet fetched whole: kept until the ticket expires, so that a second trial gets the same bytes. */
import type { Prefilled } from "../engine/engine.ts";

interface Kept {
  prefilled: Prefilled;
  bytes: number;
  timer: NodeJS.Timeout;
}

export class Promised {
  readonly #budgetBytes: number;
  readonly #kept = new Map<string, Kept>();
  #usedBytes = 0;

  constructor(budgetBytes: number) {
    this.#budgetBytes = budgetBytes;
  }

  get count(): number {
    return this.#kept.size;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Without room it is not kept: a second trial computes again what the engine no longer holds. */
  keep(name: string, prefilled: Prefilled, forMs: number): void {
    this.drop(name);
    const bytes = prefilled.blocks.reduce((sum, { data }) => sum + data.byteLength, prefilled.tail.data.byteLength);
    if (forMs <= 0 || this.#usedBytes + bytes > this.#budgetBytes) return;
    const timer = setTimeout(() => this.drop(name), forMs).unref();
    this.#kept.set(name, { prefilled, bytes, timer });
    this.#usedBytes += bytes;
  }

  take(name: string): Prefilled | null {
    const kept = this.#kept.get(name);
    this.drop(name);
    return kept?.prefilled ?? null;
  }

  drop(name: string): void {
    const kept = this.#kept.get(name);
    if (kept === undefined) return;
    clearTimeout(kept.timer);
    this.#kept.delete(name);
    this.#usedBytes -= kept.bytes;
  }

  clear(): void {
    for (const name of this.#kept.keys()) this.drop(name);
  }
}
