/** A map with room for `most` entries: the one that was set longest ago makes room. Iterates from it to the newest. */
export class BoundedMap<Key, Value> extends Map<Key, Value> {
  readonly #most: number;

  constructor(most: number) {
    super();
    this.#most = most;
  }

  /** It is the newest from now on, whether or not it was here. */
  override set(key: Key, value: Value): this {
    this.delete(key);
    super.set(key, value);
    const oldest = this.size > this.#most ? this.keys().next() : null;
    if (oldest?.done === false) this.delete(oldest.value);
    return this;
  }
}
