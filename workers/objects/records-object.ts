/**
 * A tenant's records of one day: answers that are kept, and whatever else is to outlive the replica that made it. They lie here and not in
 * a replica because a conversation goes on by them after the replica has gone. Many share an object because each object has files, an alarm
 * and commits of its own (docs/decisions/0020-records-by-tenant-and-day.md). Its name says tenant, pool, the day's place and which of the
 * day's objects it is, so no two tenants meet in one.
 */
import { DurableObject } from "cloudflare:workers";
import { endOfDay, RETENTION_MS } from "../../src/records/record-day.ts";
import type { Env } from "../env.ts";

/** A row holds at most 2 MB: longer records lie in pieces. */
const PIECE_BYTES = 1_000_000;
/** Between two commits: whoever comes meanwhile shares the next one. A commit that follows none waits for nobody. */
const COMMIT_EVERY_MS = 50;
/** Of one commit: everybody waits for it. */
const COMMIT_BYTES = 8 * 1024 * 1024;
/** Waiting for the next commit, all together; what comes then is refused. */
const MOST_WAITING_BYTES = 64 * 1024 * 1024;
/** The platform has 10 GB for an object. Above this new records go to the day's next object. */
const MOST_BYTES = 4 * 1024 ** 3;
/** Of deleted records, after which an object without any is emptied. Their room in the file is used again, but only that gives it back. */
const WIPED_BYTES = 1024 * 1024;
/** A result that did not come within this time never comes. */
export const RESULT_PATIENCE_MS = 3_600_000;

/** Names → texts. */
export type Parts = Readonly<Record<string, string>>;

interface NewRecord {
  id: string;
  parts: Parts;
  /** When the day of the object's name began. */
  dayMs: number;
}

/** elsewhere: this object is full; ask the day's next one. */
export type StoreAnswer = "stored" | "stored_before" | "deleted" | "busy" | "elsewhere";
type ReadAnswer = { type: "found"; text: string } | { type: "none" } | { type: "elsewhere" };
type DeleteAnswer = "deleted" | "none" | "elsewhere";

type Row = { expires_at: number; lengths: string };

interface Waiting {
  bytes: number;
  /** In the commit's turn. */
  write: () => void;
  failed: (error: unknown) => void;
}

export class RecordsObject extends DurableObject<Env> {
  readonly #sql: SqlStorage;
  #tables: ReadonlySet<string> | null = null;
  /** When this day's object is emptied; null: not looked up yet in this life. */
  #endsAtMs: number | null = null;
  /** Of deleted records, since this object was last empty; null: not looked up yet. */
  #freedBytes: number | null = null;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #committing = false;
  #committedAtMs = 0;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#sql = ctx.storage.sql;
  }

  /** The first record of an id stays. One that was deleted does not come back. */
  async store({ id, parts, dayMs }: NewRecord): Promise<StoreAnswer> {
    const texts = Object.entries(parts).map(([name, text]): [string, Buffer] => [name, Buffer.from(text)]);
    const lengths = JSON.stringify(Object.fromEntries(texts.map(([name, bytes]) => [name, bytes.length])));
    const body = Buffer.concat(texts.map(([, bytes]) => bytes));
    if (this.#waitingBytes + body.length > MOST_WAITING_BYTES) return "busy";
    return this.#commit(body.length, dayMs, () => {
      if (this.#isDeleted(id)) return "deleted";
      if (this.#row(id) !== null) return "stored_before";
      if (this.#isFull()) return this.#spill();
      const expiresAtMs = Date.now() + RETENTION_MS;
      for (let at = 0, piece = 0; at === 0 || at < body.length; at += PIECE_BYTES, piece++) {
        const bytes = body.subarray(at, at + PIECE_BYTES);
        this.#sql.exec("INSERT INTO record VALUES (?, ?, ?, ?, ?)", id, piece, expiresAtMs, piece === 0 ? lengths : "", bytes);
      }
      return "stored";
    });
  }

  /** One of a record's texts. */
  read(id: string, part: string): ReadAnswer {
    if (!this.#exists()) return { type: "none" };
    const row = this.#row(id);
    if (row === null) return { type: this.#hasSpilled() ? "elsewhere" : "none" };
    if (row.expires_at <= Date.now()) return { type: "none" };
    const body = Buffer.concat(
      this.#sql
        .exec<{ body: ArrayBuffer }>("SELECT body FROM record WHERE id = ? ORDER BY piece", id)
        .toArray()
        .map((piece) => new Uint8Array(piece.body)),
    );
    let at = 0;
    for (const [name, length] of Object.entries(JSON.parse(row.lengths) as Record<string, number>)) {
      if (name === part) return { type: "found", text: body.toString("utf8", at, at + length) };
      at += length;
    }
    return { type: "none" };
  }

  /** "none" when there is no such record. A result that comes later is refused. */
  async delete(id: string, dayMs: number): Promise<DeleteAnswer> {
    if (!this.#exists()) return "none";
    return this.#commit(0, dayMs, () => {
      const row = this.#row(id);
      if (row === null) return this.#hasSpilled() && !this.#isDeleted(id) ? "elsewhere" : "none";
      const nowMs = Date.now();
      const bytes = Object.values(JSON.parse(row.lengths) as Record<string, number>).reduce((sum, length) => sum + length, 0);
      this.#sql.exec("DELETE FROM record WHERE id = ?", id);
      this.#sql.exec("INSERT OR REPLACE INTO deleted VALUES (?, ?, ?)", id, nowMs + RESULT_PATIENCE_MS, bytes);
      if (this.#freedBytes !== null) this.#freedBytes += bytes;
      return row.expires_at > nowMs ? "deleted" : "none";
    });
  }

  /** The day's records have all expired. */
  override async alarm(): Promise<void> {
    this.#forget();
    await this.ctx.storage.deleteAll();
  }

  /** Runs `write` with the next commit, beside what others write in it. Rejects when the storage does. */
  #commit<T>(bytes: number, dayMs: number, write: () => T): Promise<T> {
    return new Promise<T>((resolve, failed) => {
      this.#waiting.push({ bytes, failed, write: () => resolve(write()) });
      this.#waitingBytes += bytes;
      if (this.#committing) return;
      this.#committing = true;
      const waitMs = Math.min(COMMIT_EVERY_MS, Math.max(0, this.#committedAtMs + COMMIT_EVERY_MS - Date.now()));
      setTimeout(() => void this.#commitWaiting(dayMs), waitMs);
    });
  }

  async #commitWaiting(dayMs: number): Promise<void> {
    let batch: Waiting[] = [];
    try {
      await this.#prepare(dayMs);
      batch = this.#nextBatch();
      // All in one turn: one commit.
      for (const { write } of batch) write();
      if (this.#isWorthWiping()) await this.#wipe(dayMs);
    } catch (error) {
      for (const { failed } of [...batch, ...this.#waiting.splice(0)]) failed(error);
      this.#waitingBytes = 0;
    }
    this.#committedAtMs = Date.now();
    if (this.#waiting.length === 0) this.#committing = false;
    else setTimeout(() => void this.#commitWaiting(dayMs), COMMIT_EVERY_MS);
  }

  #nextBatch(): Waiting[] {
    let bytes = 0;
    const over = this.#waiting.findIndex((waiting, index) => (bytes += waiting.bytes) > COMMIT_BYTES && index > 0);
    const batch = this.#waiting.splice(0, over < 0 ? this.#waiting.length : over);
    this.#waitingBytes -= batch.reduce((sum, waiting) => sum + waiting.bytes, 0);
    return batch;
  }

  /** Tables, and an alarm at the day's end. What lies here of the day that had this place before goes. */
  async #prepare(dayMs: number): Promise<void> {
    const endsAtMs = endOfDay(dayMs);
    if (this.#endsAtMs === endsAtMs) return;
    const alarmAtMs = await this.ctx.storage.getAlarm();
    if (alarmAtMs !== endsAtMs) {
      if (this.#exists()) await this.#empty();
      await this.ctx.storage.setAlarm(endsAtMs);
    }
    this.#createTables();
    this.#endsAtMs = endsAtMs;
  }

  #isWorthWiping(): boolean {
    this.#freedBytes ??= this.#sql.exec<{ bytes: number | null }>("SELECT sum(bytes) AS bytes FROM deleted").one().bytes ?? 0;
    if (this.#freedBytes < WIPED_BYTES || this.#hasSpilled()) return false;
    return this.#sql.exec("SELECT 1 FROM record LIMIT 1").toArray().length === 0;
  }

  /** The file becomes a new one. What was deleted lately stays deleted. */
  async #wipe(dayMs: number): Promise<void> {
    const deleted = this.#sql.exec<{ id: string; until: number }>("SELECT id, until FROM deleted WHERE until > ?", Date.now()).toArray();
    await this.#empty();
    this.#createTables();
    for (const { id, until } of deleted) this.#sql.exec("INSERT INTO deleted VALUES (?, ?, 0)", id, until);
    await this.ctx.storage.setAlarm(endOfDay(dayMs));
    this.#endsAtMs = endOfDay(dayMs);
    this.#freedBytes = 0;
  }

  async #empty(): Promise<void> {
    this.#forget();
    await this.ctx.storage.deleteAll();
  }

  /** What memory has of the file. */
  #forget(): void {
    this.#tables = null;
    this.#endsAtMs = null;
    this.#freedBytes = null;
  }

  #createTables(): void {
    this.#sql.exec(
      `CREATE TABLE IF NOT EXISTS record (id TEXT, piece INTEGER, expires_at INTEGER NOT NULL, lengths TEXT NOT NULL, body BLOB NOT NULL,
      PRIMARY KEY (id, piece)) WITHOUT ROWID`,
    );
    // Ids whose results may still be on their way.
    this.#sql.exec(
      "CREATE TABLE IF NOT EXISTS deleted (id TEXT PRIMARY KEY, until INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID",
    );
    this.#tables = null;
  }

  /** Whether anything was ever written here: what was not, asking does not make. */
  #exists(): boolean {
    return this.#has("record");
  }

  /** New records go to the day's next object, also when room has come back here: an id is only ever in one of them. */
  #hasSpilled(): boolean {
    return this.#has("spilled");
  }

  #has(table: string): boolean {
    this.#tables ??= new Set(
      this.#sql
        .exec<{ name: string }>("SELECT name FROM sqlite_master WHERE type = 'table'")
        .toArray()
        .map(({ name }) => name),
    );
    return this.#tables.has(table);
  }

  #isFull(): boolean {
    return this.#hasSpilled() || this.#sql.databaseSize >= MOST_BYTES;
  }

  #spill(): "elsewhere" {
    this.#sql.exec("CREATE TABLE IF NOT EXISTS spilled (yes INTEGER)");
    this.#tables = null;
    return "elsewhere";
  }

  #row(id: string): Row | null {
    return this.#sql.exec<Row>("SELECT expires_at, lengths FROM record WHERE id = ? AND piece = 0", id).toArray()[0] ?? null;
  }

  #isDeleted(id: string): boolean {
    return this.#sql.exec("SELECT 1 FROM deleted WHERE id = ?", id).toArray().length > 0;
  }
}
