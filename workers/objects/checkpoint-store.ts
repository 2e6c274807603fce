/**
 * The pool's checkpoint as rows (src/residency/checkpoint.ts says what they mean). A platform bills each row that is written, however large, so a flush
 * writes one row with the facts and all changes, over one that is not needed any more, and a page now and then.
 */
import type { SavedPool } from "../../src/router/pool.ts";
import type { CheckpointPosition, CheckpointRows, JournalRow, PageRow } from "../../src/residency/checkpoint.ts";

interface LoadedCheckpoint {
  saved: SavedPool;
  position: CheckpointPosition;
  pages: Iterable<PageRow>;
  journal: JournalRow[];
}

type Facts = Pick<LoadedCheckpoint, "saved" | "position">;

export class CheckpointStore {
  readonly #storage: DurableObjectStorage;
  readonly #sql: SqlStorage;
  /** Number of the journal row that each slot holds. */
  readonly #slots: number[];
  /** Since this object began. */
  readonly written = { rows: 0, bytes: 0 };

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    this.#sql = storage.sql;
    this.#sql.exec(
      "CREATE TABLE IF NOT EXISTS journal (slot INTEGER PRIMARY KEY, number INTEGER NOT NULL, facts TEXT NOT NULL, data BLOB NOT NULL)",
    );
    this.#sql.exec("CREATE TABLE IF NOT EXISTS pages (page INTEGER PRIMARY KEY, data BLOB NOT NULL)");
    this.#slots = this.#sql
      .exec<{ number: number }>("SELECT number FROM journal ORDER BY slot")
      .toArray()
      .map(({ number }) => number);
  }

  /** Null when there is none. */
  load(): LoadedCheckpoint | null {
    const last = this.#sql.exec<{ facts: string }>("SELECT facts FROM journal ORDER BY number DESC LIMIT 1").toArray()[0];
    if (last === undefined) return null;
    const { saved, position } = JSON.parse(last.facts) as Facts;
    const oldest = Math.min(...position.stamps) + 1;
    const journal = this.#sql
      .exec<{ number: number; data: ArrayBuffer }>("SELECT number, data FROM journal WHERE number >= ? ORDER BY number", oldest)
      .toArray()
      .map(({ number, data }) => ({ number, data: new Uint8Array(data) }));
    return { saved, position, pages: this.#pages(), journal };
  }

  /** All in one transaction: the sequence numbers must say neither more nor less than the index's rows. */
  save(saved: SavedPool, { journal, pages, position, oldest }: CheckpointRows): void {
    const facts: Facts = { saved, position };
    const slots = [...this.#slots];
    this.#storage.transactionSync(() => {
      for (const { number, data } of journal) {
        // Those before the last one are read for their data only.
        const text = number === position.number ? JSON.stringify(facts) : "{}";
        let slot = slots.findIndex((kept) => kept < oldest);
        if (slot < 0) slot = slots.length;
        slots[slot] = number;
        this.#put("INSERT OR REPLACE INTO journal VALUES (?, ?, ?, ?)", text.length + data.byteLength, slot, number, text, data);
      }
      for (const { page, data } of pages) this.#put("INSERT OR REPLACE INTO pages VALUES (?, ?)", data.byteLength, page, data);
    });
    this.#slots.splice(0, slots.length, ...slots);
  }

  #put(statement: string, bytes: number, ...values: (number | string | Uint8Array)[]): void {
    this.written.rows += this.#sql.exec(statement, ...values).rowsWritten;
    this.written.bytes += bytes;
  }

  /** One at a time, so that they are not in memory twice. */
  *#pages(): Generator<PageRow> {
    for (const { page, data } of this.#sql.exec<{ page: number; data: ArrayBuffer }>("SELECT page, data FROM pages"))
      yield { page, data: new Uint8Array(data) };
  }
}
