/**
 * The index as rows: pages, each all entries of a range of hashes, and a journal of changes. A flush writes what changed since the last one as a row of
 * the journal, and a few pages, the oldest first, so that the journal stays short: a page makes what the journal had of it before superfluous. The
 * entries at the last flush are, of each page, what it held when it was written and the changes of later rows.
 */
import type { AgeState } from "./ages.ts";
import { ENTRY_BYTES } from "./change-log.ts";
import { MOST_TOUCHED, packMeta, replicaOf, tiersOf, touchedOf } from "./part.ts";
import { MAX_REPLICAS, PAGES, type StorableIndex } from "./segment-index.ts";

const VERSION = 2;
/** Of one row; a platform's largest is 2 MB. */
const ROW_ENTRIES = 65_536;
/** Whoever flushes does so at once when so much is to be written. */
export const MOST_PENDING_BYTES = 524_288;
/** So many bytes of pages in one flush, and what the last one is longer: whoever calls meanwhile waits. What is due and left comes with the next. */
const PAGES_AT_ONCE_BYTES = 786_432;
/** All pages are written again while so much is added to the journal, or so many rows. It is read back whole. */
const JOURNAL_BYTES = 16 * 1_048_576;
const JOURNAL_ROWS = 256;
/** Before the entries of every row: version, era of their ages, entries, 0. */
const HEAD_WORDS = 4;
const HEAD_BYTES = HEAD_WORDS * 4;
const PAGE_SHIFT = 32 - Math.log2(PAGES);

/** What a set of rows means; JSON, stored with them. */
export interface CheckpointPosition {
  version: typeof VERSION;
  /** Of the journal's last row. */
  number: number;
  /** By page: the journal's row behind which its changes begin. */
  stamps: number[];
  /** By page: entries of its row; 0 when there is none. */
  sizes: number[];
  ages: AgeState;
}

export interface JournalRow {
  /** Rises by one. */
  number: number;
  data: Uint8Array;
}

export interface PageRow {
  page: number;
  data: Uint8Array;
}

/** Write all of it in one transaction. */
export interface CheckpointRows {
  journal: JournalRow[];
  /** Each replaces the row of its page. */
  pages: PageRow[];
  position: CheckpointPosition;
  /** Journal rows below this number are not needed any more. */
  oldest: number;
}

/** Where the rows are, in memory. */
interface Progress {
  number: number;
  stamps: number[];
  sizes: number[];
  /** Pages of which the journal has changes: 1. */
  changed: Uint8Array;
  /** Bytes of pages that should have been written by now. */
  dueBytes: number;
  era: number;
}

export class IndexCheckpoint {
  readonly #index: StorableIndex;
  #at: Progress = fresh();

  constructor(index: StorableIndex) {
    this.#index = index;
  }

  /** Bytes of changes that are in no row yet. */
  get pendingBytes(): number {
    return this.#index.log.bytes;
  }

  /** Hands over what is to be written now, at least one journal row. When `write` throws, the next flush has all of it again. */
  flush(write: (rows: CheckpointRows) => void): void {
    const { log, ages, size } = this.#index;
    const at: Progress = { ...this.#at, sizes: [...this.#at.sizes], changed: this.#at.changed.slice(), era: ages.era };
    const journal: JournalRow[] = [];
    for (let from = 0; from < log.words.length || journal.length === 0; from += ROW_ENTRIES * 4)
      journal.push({ number: ++at.number, data: encodeRow(log.words.subarray(from, from + ROW_ENTRIES * 4), ages.era) });
    // Ages that were numbered anew make every page an old one.
    if (at.era === this.#at.era) markChanged(at.changed, log.words);
    else at.changed.fill(1);
    at.stamps = at.stamps.map((stamp, page) => (at.changed[page] === 0 ? at.number : stamp));
    const total = size * ENTRY_BYTES + PAGES * HEAD_BYTES;
    at.dueBytes = Math.min(total, at.dueBytes + total * Math.max(log.bytes / JOURNAL_BYTES, journal.length / JOURNAL_ROWS));
    const pages = this.#duePages(at);
    const position: CheckpointPosition = { version: VERSION, number: at.number, stamps: at.stamps, sizes: at.sizes, ages };
    write({ journal, pages, position, oldest: Math.min(...at.stamps) + 1 });
    this.#at = at;
    log.clear();
  }

  /**
   * Bounds what waits to be written while nothing can be: changes that take more than twice the index's own bytes become the index as it
   * is, which says the same in a row of the journal.
   */
  condense(): void {
    const { log, size } = this.#index;
    if (log.bytes <= 2 * size * ENTRY_BYTES + MOST_PENDING_BYTES) return;
    log.clear();
    for (let replica = 0; replica < MAX_REPLICAS; replica++) log.add(0, 0, 0, replica);
    for (let page = 0; page < PAGES; page++) {
      const words = this.#index.page(page);
      for (let at = 0; at < words.length; at += 4) log.add(words[at] ?? 0, words[at + 1] ?? 0, words[at + 2] ?? 0, words[at + 3] ?? 0);
    }
  }

  /** Puts the entries of a checkpoint into the index. False, and both empty, when rows do not fit together: resync. */
  load(position: unknown, pages: Iterable<PageRow>, journal: readonly JournalRow[]): boolean {
    if (isPosition(position) && this.#read(position, pages, journal)) return true;
    this.#at = fresh();
    this.#index.restart(0, this.#index.ages);
    return false;
  }

  /** The pages with the oldest changes, until no more are due. */
  #duePages(at: Progress): PageRow[] {
    const pages: PageRow[] = [];
    for (let bytes = 0; at.dueBytes > 0 && bytes < PAGES_AT_ONCE_BYTES; bytes += pages.at(-1)?.data.byteLength ?? 0) {
      let oldest = -1;
      for (let page = 0; page < PAGES; page++)
        if (at.changed[page] === 1 && (at.stamps[page] ?? 0) < (at.stamps[oldest] ?? Infinity)) oldest = page;
      if (oldest < 0) break;
      const words = this.#index.page(oldest);
      pages.push({ page: oldest, data: encodeRow(words, at.era) });
      at.dueBytes -= HEAD_BYTES + words.byteLength;
      at.stamps[oldest] = at.number;
      at.sizes[oldest] = words.length / 4;
      at.changed[oldest] = 0;
    }
    return pages;
  }

  #read(position: CheckpointPosition, pages: Iterable<PageRow>, journal: readonly JournalRow[]): boolean {
    const { number, stamps, sizes, ages } = position;
    const from = Math.min(...stamps) + 1;
    const rows: Change[] = [];
    for (const row of journal) {
      const decoded = decodeRow(row.data, ages);
      if (decoded === null || row.number !== from + rows.length) return false;
      rows.push({ ordinal: row.number * ROW_ENTRIES, ...decoded });
    }
    if (from + rows.length !== number + 1) return false;
    const begins = Float64Array.from(stamps, (stamp) => (stamp + 1) * ROW_ENTRIES);
    const forgotten = lastForgotten(rows);
    this.#index.restart(
      sizes.reduce((sum, size) => sum + size, 0),
      ages,
    );
    const missing = [...sizes];
    for (const { page, data } of pages) {
      const decoded = decodeRow(data, ages);
      if (decoded === null || decoded.words.length / 4 !== missing[page]) return false;
      const { words, touchedIn } = decoded;
      missing[page] = 0;
      for (let at = 0; at < words.length; at += 4) {
        const [hi = 0, lo = 0, tokens = 0, meta = 0] = [words[at], words[at + 1], words[at + 2], words[at + 3]];
        if (hi >>> PAGE_SHIFT !== page || tiersOf(meta) === 0) return false;
        if ((forgotten[replicaOf(meta)] ?? -1) < (begins[page] ?? 0)) this.#index.put(hi, lo, tokens, touchedIn(meta));
      }
    }
    if (missing.some((size) => size !== 0)) return false;
    const changed = new Uint8Array(PAGES);
    for (const { words, touchedIn, ordinal } of rows) {
      for (let at = 0; at < words.length; at += 4) {
        const [hi = 0, lo = 0, tokens = 0, meta = 0] = [words[at], words[at + 1], words[at + 2], words[at + 3]];
        const nth = ordinal + at / 4;
        const page = hi >>> PAGE_SHIFT;
        if (nth < (begins[page] ?? 0) || nth <= (forgotten[replicaOf(meta)] ?? -1)) continue;
        this.#index.put(hi, lo, tokens, touchedIn(meta));
      }
      markChanged(changed, words);
    }
    this.#at = { number, stamps: [...stamps], sizes: [...sizes], changed, dueBytes: 0, era: ages.era };
    return true;
  }
}

function fresh(): Progress {
  const none = (): number[] => Array.from({ length: PAGES }, () => 0);
  return { number: 0, stamps: none(), sizes: none(), changed: new Uint8Array(PAGES), dueBytes: 0, era: 0 };
}

const isForget = (hi: number, lo: number): boolean => hi === 0 && lo === 0;

function markChanged(changed: Uint8Array, words: Int32Array): void {
  for (let at = 0; at < words.length; at += 4) {
    const [hi = 0, lo = 0] = [words[at], words[at + 1]];
    if (isForget(hi, lo)) {
      changed.fill(1);
      return;
    }
    changed[hi >>> PAGE_SHIFT] = 1;
  }
}

/** By replica: which change, counted through all rows, was the last that forgot it; -1: none. */
function lastForgotten(rows: readonly Change[]): Float64Array {
  const last = new Float64Array(MAX_REPLICAS).fill(-1);
  for (const { ordinal, words } of rows)
    for (let at = 0; at < words.length; at += 4)
      if (isForget(words[at] ?? 0, words[at + 1] ?? 0)) last[replicaOf(words[at + 3] ?? 0)] = ordinal + at / 4;
  return last;
}

function encodeRow(entries: Int32Array, era: number): Uint8Array {
  const words = new Int32Array(HEAD_WORDS + entries.length);
  words.set([VERSION, era, entries.length / 4]);
  words.set(entries, HEAD_WORDS);
  return new Uint8Array(words.buffer);
}

interface Decoded {
  words: Int32Array;
  /** An entry's meta, with its age as it is counted now. */
  touchedIn: (meta: number) => number;
}

interface Change extends Decoded {
  /** Number of its first change, counted through all rows. */
  ordinal: number;
}

/** Null when it is of another version or length. */
function decodeRow(data: Uint8Array, ages: AgeState): Decoded | null {
  if (data.byteLength % ENTRY_BYTES !== 0) return null;
  const words = new Int32Array(data.slice().buffer);
  if (words[0] !== VERSION || words[2] !== words.length / 4 - 1) return null;
  // Ages of another era cannot be compared: such entries are the oldest.
  const most = words[1] === ages.era ? ages.now : 0;
  return {
    words: words.subarray(HEAD_WORDS),
    touchedIn: (meta) => packMeta(replicaOf(meta), tiersOf(meta), Math.min(most, touchedOf(meta))),
  };
}

function isPosition(value: unknown): value is CheckpointPosition {
  if (typeof value !== "object" || value === null) return false;
  const { version, number, stamps, sizes, ages }: Partial<Record<keyof CheckpointPosition, unknown>> = value;
  if (version !== VERSION || !isCount(number) || !isCounts(stamps) || !isCounts(sizes)) return false;
  if (stamps.some((stamp) => stamp > number) || typeof ages !== "object" || ages === null) return false;
  const { now, seconds, era }: Partial<Record<keyof AgeState, unknown>> = ages;
  return isCount(now) && now <= MOST_TOUCHED && isCount(seconds) && isCount(era);
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;

const isCounts = (value: unknown): value is number[] => Array.isArray(value) && value.length === PAGES && value.every(isCount);
