/** Virtual time: what happens next, in order. Of two things at the same time, what was said first happens first. */
export class Timeline {
  nowMs = 0;
  #order = 0;
  readonly #heap: Happening[] = [];

  get size(): number {
    return this.#heap.length;
  }

  /** A time that has passed counts as now. */
  at(atMs: number, happen: () => void): void {
    const heap = this.#heap;
    const entry = { atMs: Math.max(atMs, this.nowMs), order: this.#order++, happen };
    let place = heap.length;
    heap.push(entry);
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || isBefore(above, entry)) break;
      heap[place] = above;
      place = parent;
    }
    heap[place] = entry;
  }

  after(ms: number, happen: () => void): void {
    this.at(this.nowMs + ms, happen);
  }

  /** False: nothing is left to happen. */
  step(): boolean {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined) return false;
    if (heap.length > 0) this.#sink(last);
    this.nowMs = first.atMs;
    first.happen();
    return true;
  }

  #sink(entry: Happening): void {
    const heap = this.#heap;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      let below = heap[child];
      const right = heap[child + 1];
      if (below === undefined) break;
      if (right !== undefined && isBefore(right, below)) {
        child++;
        below = right;
      }
      if (isBefore(entry, below)) break;
      heap[place] = below;
      place = child;
    }
    heap[place] = entry;
  }
}

interface Happening {
  atMs: number;
  order: number;
  happen(): void;
}

function isBefore(left: Happening, right: Happening): boolean {
  return left.atMs === right.atMs ? left.order < right.order : left.atMs < right.atMs;
}
