/**
 * The pool's last decisions over the loss of its memory. Memory has all that is kept; the rows are its log, overwritten in a ring. One
 * row has many records, because the platform bills rows and not bytes, and there is no index, which would be billed as another row.
 */
import { describeAttempt } from "../../src/explain/listing.ts";
import { type ExplainRecord, type RecordRow, rowOf } from "../../src/explain/record.ts";
import type { ExplainRing } from "../../src/explain/ring.ts";
import type { RecordBatch } from "../../src/explain/record-batch.ts";

/** Rows that each decision earns, and the most that may be saved up. */
const ROWS_PER_DECISION = 0.02;
const MOST_CREDIT = 4;
/** Between two flushes: more where more is to be written, so that a flood's records are mostly given up before time is spent on them. */
const FLUSH_MS = { least: 1_000, perRecord: 15, most: 10_000 };
/** By then it is written whether the row is earned or not. */
const LATEST_FLUSH_MS = 300_000;
/** Together twice what memory keeps at most, so that rows that are still kept in full are never all there are. */
const ROWS = 32;
/** The platform has 2 MB for a row. */
const ROW_BYTES = 1_000_000;

type Row = { heads: string; views: ArrayBuffer };

export class DecisionStore {
  readonly #sql: SqlStorage;
  readonly #ring: ExplainRing;
  #restored = false;
  /** Counts rows written, in this life of the object and those before it. */
  #written = 0;
  #flushedAtMs: number;
  /** Rows that may be written. */
  #credit = MOST_CREDIT;
  #decided = 0;
  /** Of this flush: records still to be written, and rows that it may still make. */
  #owed = 0;
  #rowsLeft = 0;

  constructor(storage: DurableObjectStorage, ring: ExplainRing, nowMs: number) {
    this.#sql = storage.sql;
    this.#ring = ring;
    this.#flushedAtMs = nowMs;
    this.#sql.exec(
      "CREATE TABLE IF NOT EXISTS decision_log (slot INTEGER PRIMARY KEY, number INTEGER NOT NULL, heads TEXT NOT NULL, views BLOB NOT NULL)",
    );
  }

  /** Into the ring, once. Not when the object wakes: an edge that asks an empty pool for its card has no use for them. */
  restore(): void {
    if (this.#restored) return;
    this.#restored = true;
    this.#ring.restore(this.#rows());
  }

  /** The decision as JSON for its tenant; null when it is not kept or another's. */
  told(id: string, tenant: string, pool: string | undefined): string | null {
    const attempts = this.attempts(id, tenant).map(describeAttempt);
    return attempts.length === 0 ? null : JSON.stringify({ object: "decision", id, pool, attempts });
  }

  /** All attempts of a tenant's request that are still kept, first one first. */
  attempts(id: string, tenant: string): ExplainRecord[] {
    this.restore();
    return this.#ring.attempts(id, tenant);
  }

  /** A tenant's last ones, newest first, as many as have room; `mostBytes` of what they are as `EncodedRecord`s in memory, about. */
  lastOf(tenant: string, limit: number, mostBytes: number): RecordRow[] {
    this.restore();
    const rows: RecordRow[] = [];
    let bytes = 0;
    for (const record of this.#ring.lastOf(tenant)) {
      if (rows.length === limit) break;
      const row = rowOf(record);
      bytes += row.record.length + record.view.names.length * record.view.columns * Float64Array.BYTES_PER_ELEMENT;
      if (bytes > mostBytes) break;
      rows.push(row);
    }
    return rows;
  }

  /** One at a time: together they may be 32 MB. */
  *#rows(): Generator<{ row: number; batch: RecordBatch }> {
    const slots = this.#sql.exec<{ slot: number; number: number }>("SELECT slot, number FROM decision_log ORDER BY number").toArray();
    for (const { slot, number } of slots) {
      this.#written = number + 1;
      const { heads, views } = this.#sql.exec<Row>("SELECT heads, views FROM decision_log WHERE slot = ?", slot).one();
      yield { row: slot, batch: { heads, views: new Uint8Array(views) } };
    }
  }

  /** At most one row each time: a call waits for it. `idle`: nothing goes on, and the memory may be lost soon. */
  tick(nowMs: number, idle: boolean): void {
    const { unwritten, decided } = this.#ring;
    this.#credit = Math.min(MOST_CREDIT, this.#credit + (decided - this.#decided) * ROWS_PER_DECISION);
    this.#decided = decided;
    if (this.#owed <= 0 && unwritten > 0 && (idle || this.#isDue(unwritten, nowMs))) {
      this.#flushedAtMs = nowMs;
      this.#owed = unwritten;
      this.#rowsLeft = ROWS;
    }
    if (this.#owed > 0) this.#writeRow();
  }

  #isDue(unwritten: number, nowMs: number): boolean {
    const { least, perRecord, most } = FLUSH_MS;
    // In either direction: the clock may have been set.
    const sinceMs = Math.abs(nowMs - this.#flushedAtMs);
    return sinceMs >= (this.#credit >= 1 ? Math.min(most, Math.max(least, unwritten * perRecord)) : LATEST_FLUSH_MS);
  }

  #writeRow(): void {
    this.restore();
    const slot = this.#written % ROWS;
    const batch = this.#ring.batch(slot, ROW_BYTES);
    if (batch === null || this.#rowsLeft-- === 0) {
      this.#owed = 0;
      return;
    }
    const { heads, views, fresh } = batch;
    this.#sql.exec(
      "INSERT OR REPLACE INTO decision_log (slot, number, heads, views) VALUES (?, ?, ?, ?)",
      slot,
      this.#written,
      heads,
      views,
    );
    this.#written++;
    this.#credit--;
    this.#ring.written(slot, batch);
    this.#owed -= fresh;
  }
}
