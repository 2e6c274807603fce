/** hono's router, whose word on a path that is registered as it stands is kept: most requests come to one of a few such paths. */
import type { Result, Router } from "hono/router";
import { TrieRouter } from "hono/router/trie-router";

const HAS_PATTERN = /[:*{]/;
/** Methods are the client's to choose: so only of these. */
const KEPT_METHODS: ReadonlySet<string> = new Set(["GET", "POST"]);

export class KeptRoutes<T> implements Router<T> {
  readonly name = "KeptRoutes";
  readonly #router = new TrieRouter<T>();
  /** At most one of each method for each registered path. */
  readonly #kept = new Map<string, Result<T>>();
  readonly #plain = new Set<string>();

  add(method: string, path: string, handler: T): void {
    this.#router.add(method, path, handler);
    if (!HAS_PATTERN.test(path)) this.#plain.add(path);
    this.#kept.clear();
  }

  match(method: string, path: string): Result<T> {
    if (!this.#plain.has(path) || !KEPT_METHODS.has(method)) return this.#router.match(method, path);
    const asked = `${method} ${path}`;
    const known = this.#kept.get(asked);
    if (known !== undefined) return known;
    const matched = this.#router.match(method, path);
    this.#kept.set(asked, matched);
    return matched;
  }
}
