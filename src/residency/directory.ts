/** Which part holds which hashes: 4,096 rows, by a hash's first 12 bits, each of some part. */
import { PART_EASY, PART_FULL, Part } from "./part.ts";

const ROW_BITS = 12;
export const ROWS = 2 ** ROW_BITS;
const ROW_SHIFT = 32 - ROW_BITS;
/** Moving fewer entries than this to another part is not worth the walk over both. */
const LEAST_MOVED = 1_024;
/** Another part is taken when all are filled so far. */
const FILLED = PART_EASY * 0.75;

/**
 * A part at its limit gives some of its rows to a new part or to the emptiest one, so parts fill evenly up to the last. (Extendible hashing, which halves
 * a full part, leaves most of them full and the others half empty where their number is no power of two: hashes spread evenly, so all are full at once.)
 */
export class Directory {
  readonly #maxParts: number;
  readonly #rows: Part[];
  readonly #parts: Part[];

  /** @param parts that rows are spread over evenly, 1 … maxParts. */
  constructor(maxParts: number, parts: number) {
    this.#maxParts = maxParts;
    this.#parts = Array.from({ length: parts }, () => new Part());
    this.#rows = Array.from({ length: ROWS }, (_, row) => this.#at(Math.floor((row * parts) / ROWS)));
  }

  get parts(): readonly Part[] {
    return this.#parts;
  }

  partOf(hi: number): Part {
    const part = this.#rows[hi >>> ROW_SHIFT];
    if (part === undefined) throw new Error("the directory has a row without a part");
    return part;
  }

  /** Those that hold hashes of these rows. */
  partsOf(fromRow: number, toRow: number): Set<Part> {
    return new Set(this.#rows.slice(fromRow, toRow));
  }

  /** For a part at its limit: moves entries of it to another one, or lets it be fuller. False when it is full and nothing can be moved. */
  makeRoom(part: Part): boolean {
    if (this.#relieve(part)) return true;
    if (part.limit >= PART_FULL) return false;
    part.limit = PART_FULL;
    return true;
  }

  #relieve(part: Part): boolean {
    let emptiest: Part | null = null;
    for (const other of this.#parts) if (other !== part && other.used < (emptiest?.used ?? Infinity)) emptiest = other;
    const isNew = this.#parts.length < this.#maxParts && (emptiest?.used ?? Infinity) > FILLED;
    const into = isNew ? new Part() : emptiest;
    if (into === null) return false;
    const moved = this.#rowsToMove(part, Math.floor((part.used - into.used) / 2));
    if (moved.length === 0) return false;
    if (isNew) this.#parts.push(into);
    for (const row of moved) this.#rows[row] = into;
    part.removeIf((tokens, meta, hi, lo) => {
      if (this.#rows[hi >>> ROW_SHIFT] === part) return false;
      into.append(hi, lo, tokens, meta);
      return true;
    });
    return true;
  }

  /** Rows with at most so many entries together; none when it is too few. From the last one on, so that a part's rows stay side by side. */
  #rowsToMove(part: Part, most: number): number[] {
    const held = new Uint32Array(ROWS);
    part.forEach((_tokens, _meta, hi) => {
      const row = hi >>> ROW_SHIFT;
      held[row] = (held[row] ?? 0) + 1;
    });
    const moved: number[] = [];
    let entries = 0;
    for (let row = ROWS - 1; row >= 0; row--) {
      const count = held[row] ?? 0;
      if (this.#rows[row] !== part || entries + count > most) continue;
      moved.push(row);
      entries += count;
    }
    return entries < LEAST_MOVED ? [] : moved;
  }

  #at(number: number): Part {
    const part = this.#parts[number];
    if (part === undefined) throw new RangeError(`part ${number} is not 0 … ${this.#parts.length - 1}`);
    return part;
  }
}
