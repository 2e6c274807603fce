/** Which replica served a session last. Names, not slots: a slot may be another's by the next request. */
import { BoundedMap } from "../bounded-map.ts";

const MAX_SESSIONS = 8_192;

export class LastReplicas {
  /** Used longest ago first. */
  readonly #replicas = new BoundedMap<string, string>(MAX_SESSIONS);

  /** Name of the replica that served it last. Tenants' sessions are told apart by their salt. */
  last(salt: string, session: string): string | undefined {
    return this.#replicas.get(keyOf(salt, session));
  }

  served(salt: string, session: string, replica: string): void {
    this.#replicas.set(keyOf(salt, session), replica);
  }
}

function keyOf(salt: string, session: string): string {
  return `${salt} ${session}`;
}
