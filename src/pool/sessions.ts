/** Which replica served a session last. Names, not slots: a slot may be another's by the next request. */

export const MAX_SESSIONS = 8_192;

export class SessionBook {
  /** Used longest ago first. */
  readonly #replicas = new Map<string, string>();

  /** Name of the replica that served it last. Tenants' sessions are told apart by their salt. */
  last(salt: string, session: string): string | undefined {
    return this.#replicas.get(keyOf(salt, session));
  }

  served(salt: string, session: string, replica: string): void {
    const key = keyOf(salt, session);
    this.#replicas.delete(key);
    this.#replicas.set(key, replica);
    if (this.#replicas.size <= MAX_SESSIONS) return;
    const oldest = this.#replicas.keys().next();
    if (oldest.done !== true) this.#replicas.delete(oldest.value);
  }
}

function keyOf(salt: string, session: string): string {
  return `${salt} ${session}`;
}
