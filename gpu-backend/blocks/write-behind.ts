/** A bounded queue that works in the background: what does not fit is not taken. */
interface WriteBehindOptions<Item> {
  /** Of the items that wait or are worked on. */
  limitBytes: number;
  /** Items worked on at once. */
  parallel: number;
  /** Must not reject. */
  write: (item: Item) => Promise<void>;
}

export class WriteBehind<Item> {
  readonly #options: WriteBehindOptions<Item>;
  #waiting: { item: Item; bytes: number }[] = [];
  #working = 0;
  #bytes = 0;
  #idle: (() => void)[] = [];

  constructor(options: WriteBehindOptions<Item>) {
    this.#options = options;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** False when the queue is full. Something larger than the whole queue still fits an empty one. */
  push(item: Item, bytes: number): boolean {
    if (this.#bytes > 0 && this.#bytes + bytes > this.#options.limitBytes) return false;
    this.#bytes += bytes;
    this.#waiting.push({ item, bytes });
    if (this.#working < this.#options.parallel) {
      this.#working++;
      void this.#work();
    }
    return true;
  }

  /** When nothing waits and nothing is worked on. */
  idle(): Promise<void> {
    if (this.#working === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  async #work(): Promise<void> {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      await this.#options.write(next.item);
      this.#bytes -= next.bytes;
    }
    this.#working--;
    if (this.#working > 0) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}
