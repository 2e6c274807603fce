/** How long replicas have been idle while somebody waited in line. */

/** With a tick of 250 ms, an idle replica gets somebody of the line within 1 s. Before, whoever waits may have a better place in sight. */
const IDLE_WAITS_MS = 700;

export class IdleWatch {
  /** By slot, pool clock. */
  readonly #sinceMs = new Map<number, number>();

  /** @param idle slots of the replicas that take requests and have none. Of these, the ones that were so for long enough. */
  waited(idle: readonly number[], nowMs: number): number[] {
    for (const slot of this.#sinceMs.keys()) if (!idle.includes(slot)) this.#sinceMs.delete(slot);
    return idle.filter((slot) => {
      const sinceMs = this.#sinceMs.get(slot);
      if (sinceMs === undefined) this.#sinceMs.set(slot, nowMs);
      return nowMs - (sinceMs ?? nowMs) >= IDLE_WAITS_MS;
    });
  }

  /** Nobody waits. */
  clear(): void {
    this.#sinceMs.clear();
  }
}
