/** The rows of a pool's checkpoint: index parts, membership, sequence numbers. */
import type { MembershipState } from "../../src/pool/membership.ts";
import type { HashSpec } from "../../src/prefix/segment.ts";
import type { IndexCheckpoint, PartBytes } from "../../src/residency/segment-index.ts";

export interface Saved {
  membership: MembershipState;
  hashSpec: HashSpec | null;
  createdAtSeconds: number;
}

export class PoolStore {
  readonly #storage: DurableObjectStorage;
  readonly #sql: SqlStorage;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    this.#sql = storage.sql;
    this.#sql.exec("CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)");
    this.#sql.exec("CREATE TABLE IF NOT EXISTS parts (id INTEGER PRIMARY KEY, data BLOB NOT NULL)");
  }

  load(): { saved: Saved; directory: string; parts: PartBytes[] } | null {
    const facts = new Map(
      this.#sql
        .exec<{ name: string; value: string }>("SELECT name, value FROM facts")
        .toArray()
        .map(({ name, value }) => [name, value]),
    );
    const saved = facts.get("saved");
    if (saved === undefined) return null;
    const parts = this.#sql
      .exec<{ id: number; data: ArrayBuffer }>("SELECT id, data FROM parts")
      .toArray()
      .map(({ id, data }) => ({ id, data: new Uint8Array(data) }));
    return { saved: JSON.parse(saved) as Saved, directory: facts.get("directory") ?? "", parts };
  }

  /** All in one transaction: the sequence numbers must say neither more nor less than the parts. */
  saveCheckpoint(saved: Saved, checkpoint: IndexCheckpoint, partIds: readonly number[]): void {
    this.#storage.transactionSync(() => {
      const put = (name: string, value: string) => this.#sql.exec("INSERT OR REPLACE INTO facts VALUES (?, ?)", name, value);
      put("saved", JSON.stringify(saved));
      put("directory", checkpoint.directory);
      for (const { id, data } of checkpoint.parts) this.#sql.exec("INSERT OR REPLACE INTO parts VALUES (?, ?)", id, data);
      this.#sql.exec("DELETE FROM parts WHERE id NOT IN (SELECT value FROM json_each(?))", JSON.stringify(partIds));
    });
  }
}
