/** The pool's last decisions as rows. */
import { type EncodedRecord, encodedOfRow, type ExplainRing, MAX_RECORDS, type RecordRow, rowOf } from "../../src/routing/explain.ts";

type Row = { record: string; numbers: ArrayBuffer };

export class PoolStore {
  readonly #storage: DurableObjectStorage;
  readonly #sql: SqlStorage;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    this.#sql = storage.sql;
    this.#sql.exec(
      "CREATE TABLE IF NOT EXISTS decided (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, attempt INTEGER NOT NULL, tenant TEXT NOT NULL, record TEXT NOT NULL, numbers BLOB NOT NULL, UNIQUE (id, attempt))",
    );
    // As rows were kept before; what they held is a log of some minutes.
    this.#sql.exec("DROP TABLE IF EXISTS decisions");
  }

  /** What was added or completed since the last time. */
  saveDecisions(ring: ExplainRing): void {
    const records = ring.unflushed();
    if (records.length === 0) return;
    this.#storage.transactionSync(() => {
      for (const kept of records) {
        const { record, numbers } = rowOf(kept);
        this.#sql.exec(
          "INSERT OR REPLACE INTO decided (id, attempt, tenant, record, numbers) VALUES (?, ?, ?, ?, ?)",
          kept.id,
          kept.attempt,
          kept.tenant,
          record,
          numbers,
        );
      }
      this.#sql.exec("DELETE FROM decided WHERE number <= (SELECT MAX(number) FROM decided) - ?", MAX_RECORDS);
    });
    ring.flushed();
  }

  /** All attempts of a tenant's request that are still kept, first one first. */
  decisions(id: string, tenant: string): EncodedRecord[] {
    const rows = this.#sql.exec<Row>("SELECT record, numbers FROM decided WHERE id = ? AND tenant = ? ORDER BY attempt", id, tenant);
    return rows.toArray().map((row) => encodedOfRow(recordRow(row)));
  }

  /** A tenant's last ones, newest first, as many as have room. */
  decisionsOf(tenant: string, limit: number, mostBytes: number): RecordRow[] {
    const rows = this.#sql.exec<Row>("SELECT record, numbers FROM decided WHERE tenant = ? ORDER BY number DESC LIMIT ?", tenant, limit);
    const records: RecordRow[] = [];
    let bytes = 0;
    for (const row of rows) {
      bytes += row.record.length + row.numbers.byteLength;
      if (bytes > mostBytes) break;
      records.push(recordRow(row));
    }
    return records;
  }
}

const recordRow = ({ record, numbers }: Row): RecordRow => ({ record, numbers: new Uint8Array(numbers) });
