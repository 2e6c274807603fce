/**
 * Keys whose tag was checked lately: a tag takes as long as all else that is done for a key. A key is known for 5 s, so that one that is taken back ends
 * by then. Only keys that were found right are kept, and nothing is learnt from how long looking one up takes but by who has it.
 */
import { BoundedMap } from "../src/bounded-map.ts";
import type { ApiKey } from "../src/tenancy/key.ts";

const KNOWN_MS = 5_000;
const MOST_KNOWN = 1_024;

export class KnownKeys {
  readonly #known = new BoundedMap<string, { key: ApiKey; untilMs: number }>(MOST_KNOWN);

  /** `check`: asked where the key is not known. `nowMs`: of a clock that never goes back. */
  find(presented: string, check: (presented: string) => ApiKey | null, nowMs: number): ApiKey | null {
    const known = this.#known.get(presented);
    if (known !== undefined && nowMs < known.untilMs) return known.key;
    const key = check(presented);
    if (key === null) this.#known.delete(presented);
    else this.#known.set(presented, { key, untilMs: nowMs + KNOWN_MS });
    return key;
  }
}
