/**
 * Which blocks a tier holds, and who leaves first: the least recently used leaf. A leaf is a block none of whose children is held,
 * since a child is of no use without what comes before it. Pinned blocks stay; by being there, they keep what comes before them.
 *
 * Leaves wait in a heap by last use. Its entries go stale (used again, gained a child, gone) and are dropped when they come up, so
 * every operation is O(log n) amortised. Pins that come up are put back.
 */
import type { EngineKey } from "../engine/engine.ts";
import { PINNED_SHARE } from "./tier.ts";

interface Resident {
  key: EngineKey;
  parent: EngineKey | null;
  bytes: number;
  /** Grows with every use; unique. */
  usedAt: number;
  pinnedUntilMs: number;
}

interface Leaf {
  key: EngineKey;
  usedAt: number;
}

export class Residents {
  readonly #now: () => number;
  readonly #held = new Map<EngineKey, Resident>();
  /** Held children by parent, whether the parent itself is held or not. */
  readonly #children = new Map<EngineKey, number>();
  #leaves: Leaf[] = [];
  /** Held blocks whose pin has not been seen to end. */
  readonly #pinned = new Set<Resident>();
  readonly #mostPinnedBytes: number;
  #pinnedBytes = 0;
  #clock = 0;
  #usedBytes = 0;

  /** `now`: milliseconds, for pins. */
  constructor({ now, budgetBytes }: { now: () => number; budgetBytes: number }) {
    this.#now = now;
    this.#mostPinnedBytes = budgetBytes * PINNED_SHARE;
  }

  get pinnedBytes(): number {
    this.#endPins();
    return this.#pinnedBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  get size(): number {
    return this.#held.size;
  }

  has(key: EngineKey): boolean {
    return this.#held.has(key);
  }

  keys(): Iterable<EngineKey> {
    return this.#held.keys();
  }

  bytesOf(key: EngineKey): number {
    return this.#held.get(key)?.bytes ?? 0;
  }

  /** As the most recently used. False when it is held already. */
  add(block: { key: EngineKey; parent: EngineKey | null; bytes: number }): boolean {
    if (this.#held.has(block.key)) return false;
    const parent = this.#comesBeforeItself(block) ? null : block.parent;
    this.#held.set(block.key, { ...block, parent, usedAt: 0, pinnedUntilMs: -Infinity });
    this.#usedBytes += block.bytes;
    if (parent !== null) this.expect(parent);
    this.use(block.key);
    return true;
  }

  remove(key: EngineKey): boolean {
    const resident = this.#held.get(key);
    if (resident === undefined) return false;
    this.#held.delete(key);
    this.#unpin(resident);
    this.#usedBytes -= resident.bytes;
    if (resident.parent !== null) this.unexpect(resident.parent);
    return true;
  }

  /** A child of it is on its way: not a leaf from now on. Every call needs its `unexpect`. */
  expect(parent: EngineKey): void {
    this.#children.set(parent, (this.#children.get(parent) ?? 0) + 1);
  }

  unexpect(parent: EngineKey): void {
    const left = (this.#children.get(parent) ?? 0) - 1;
    if (left > 0) {
      this.#children.set(parent, left);
      return;
    }
    this.#children.delete(parent);
    const resident = this.#held.get(parent);
    if (resident !== undefined) this.#push({ key: parent, usedAt: resident.usedAt });
  }

  use(key: EngineKey): void {
    const resident = this.#held.get(key);
    if (resident === undefined) return;
    resident.usedAt = ++this.#clock;
    if (!this.#children.has(key)) this.#push({ key, usedAt: resident.usedAt });
    if (this.#leaves.length > 64 + 2 * this.#held.size) this.#sweep();
  }

  pin(key: EngineKey, untilMs: number): boolean {
    const resident = this.#held.get(key);
    if (resident === undefined) return false;
    if (untilMs <= this.#now()) {
      this.#unpin(resident);
      return true;
    }
    if (!this.#pinned.has(resident)) {
      if (this.#pinnedBytes + resident.bytes > this.#mostPinnedBytes) this.#endPins();
      if (this.#pinnedBytes + resident.bytes > this.#mostPinnedBytes) return false;
      this.#pinned.add(resident);
      this.#pinnedBytes += resident.bytes;
    }
    resident.pinnedUntilMs = untilMs;
    return true;
  }

  #unpin(resident: Resident): void {
    resident.pinnedUntilMs = -Infinity;
    if (this.#pinned.delete(resident)) this.#pinnedBytes -= resident.bytes;
  }

  #endPins(): void {
    const now = this.#now();
    for (const resident of this.#pinned) if (resident.pinnedUntilMs <= now) this.#unpin(resident);
  }

  /** A block may name a false parent. In a ring of parents no block would be a leaf, and none could be evicted. */
  #comesBeforeItself({ key, parent }: { key: EngineKey; parent: EngineKey | null }): boolean {
    if (key === parent) return true;
    // Only a block that is already a parent can close a ring.
    if (!this.#children.has(key)) return false;
    for (let at = parent; at !== null; at = this.#held.get(at)?.parent ?? null) if (at === key) return true;
    return false;
  }

  /** Who leaves next; null when all that is left is pinned. It stays until `remove`. */
  victim(): EngineKey | null {
    const pinned: Leaf[] = [];
    const now = this.#now();
    let found: Leaf | undefined;
    while (found === undefined && this.#leaves.length > 0) {
      const leaf = this.#pop();
      if (leaf === undefined || !this.#current(leaf)) continue;
      if ((this.#held.get(leaf.key)?.pinnedUntilMs ?? 0) > now) pinned.push(leaf);
      else found = leaf;
    }
    for (const leaf of pinned) this.#push(leaf);
    if (found === undefined) return null;
    this.#push(found);
    return found.key;
  }

  #current(leaf: Leaf): boolean {
    return this.#held.get(leaf.key)?.usedAt === leaf.usedAt && !this.#children.has(leaf.key);
  }

  #sweep(): void {
    const seen = new Set<EngineKey>();
    this.#leaves = this.#leaves.filter((leaf) => {
      const keep = this.#current(leaf) && !seen.has(leaf.key);
      if (keep) seen.add(leaf.key);
      return keep;
    });
    // Sorted by use is a heap.
    this.#leaves.sort((one, other) => one.usedAt - other.usedAt);
  }

  #push(leaf: Leaf): void {
    const heap = this.#leaves;
    let at = heap.length;
    heap.push(leaf);
    while (at > 0) {
      const up = (at - 1) >> 1;
      const above = heap[up];
      if (above === undefined || above.usedAt <= leaf.usedAt) break;
      heap[at] = above;
      at = up;
    }
    heap[at] = leaf;
  }

  #pop(): Leaf | undefined {
    const heap = this.#leaves;
    const top = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return top;
    let at = 0;
    for (;;) {
      const left = heap[2 * at + 1];
      const right = heap[2 * at + 2];
      const goRight = left !== undefined && right !== undefined && right.usedAt < left.usedAt;
      const below = goRight ? right : left;
      if (below === undefined || below.usedAt >= last.usedAt) break;
      heap[at] = below;
      at = 2 * at + (goRight ? 2 : 1);
    }
    heap[at] = last;
    return top;
  }
}
