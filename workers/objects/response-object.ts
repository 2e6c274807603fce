/**
 * One stored answer of the responses API, named by `<tenant>/<response id>`: another tenant's id leads to an object that has nothing.
 * It lives here and not in its replica because a conversation goes on by it after the replica has gone. The edge opens it before it
 * forwards the request, the replica fills it once with the ticket that came along, and an alarm ends it. What was never opened has no
 * tables: asking creates nothing.
 */
import { DurableObject } from "cloudflare:workers";
import { createHash } from "node:crypto";
import { type Env, sameText } from "../env.ts";

const DAY_MS = 86_400_000;
export const RETENTION_MS = 30 * DAY_MS;
/** A row holds at most 2 MB: longer texts lie in pieces. In bytes of UTF-8. */
const PIECE_BYTES = 1_000_000;

/** The texts are JSON. */
export interface StoredResult {
  response: string;
  /** An array. */
  inputItems: string;
  /** An array of the conversation's messages up to and with this answer. */
  messages: string;
}

export type StoreAnswer = "stored" | "stored_before" | "refused";

export interface Page {
  after: string | null;
  /** 1 … 100. */
  limit: number;
  order: "asc" | "desc";
}

export type PageAnswer =
  | { type: "page"; data: string; firstId: string | null; lastId: string | null; hasMore: boolean }
  | { type: "not_found" }
  | { type: "unknown_after" };

export const hashTicket = (ticket: string): string => createHash("sha256").update(ticket).digest("base64url");

type Row = { ticket_hash: string; stored: number };
type Part = keyof StoredResult;

export class ResponseObject extends DurableObject<Env> {
  readonly #sql: SqlStorage;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#sql = ctx.storage.sql;
  }

  /** Whoever has the ticket may store until `expiresAtMs`. */
  async open(ticketHash: string, expiresAtMs: number): Promise<void> {
    if (this.#row() !== null) return;
    this.#sql.exec("CREATE TABLE IF NOT EXISTS response (ticket_hash TEXT NOT NULL, stored INTEGER NOT NULL)");
    this.#sql.exec("CREATE TABLE IF NOT EXISTS pieces (part TEXT, number INTEGER, bytes BLOB NOT NULL, PRIMARY KEY (part, number))");
    this.#sql.exec("INSERT INTO response VALUES (?, 0)", ticketHash);
    await this.ctx.storage.setAlarm(expiresAtMs);
  }

  /** The first result stays: a second one with the same ticket is the same replica asking again. */
  async store(ticket: string, result: StoredResult): Promise<StoreAnswer> {
    const row = this.#row();
    if (row === null || !sameText(row.ticket_hash, hashTicket(ticket))) return "refused";
    if (row.stored === 1) return "stored_before";
    this.ctx.storage.transactionSync(() => {
      for (const part of ["response", "inputItems", "messages"] as const) this.#write(part, result[part]);
      this.#sql.exec("UPDATE response SET stored = 1");
    });
    await this.ctx.storage.setAlarm(Date.now() + RETENTION_MS);
    return "stored";
  }

  /** The response as JSON; null when nothing is stored. */
  get(): string | null {
    return this.#read("response");
  }

  /** The conversation's messages up to and with this answer, as JSON: what a next request goes on from. */
  history(): string | null {
    return this.#read("messages");
  }

  inputItems({ after, limit, order }: Page): PageAnswer {
    const text = this.#read("inputItems");
    if (text === null) return { type: "not_found" };
    const items = JSON.parse(text) as { id?: string }[];
    if (order === "desc") items.reverse();
    const at = after === null ? 0 : items.findIndex(({ id }) => id === after) + 1;
    if (after !== null && at === 0) return { type: "unknown_after" };
    const data = items.slice(at, at + limit);
    return {
      type: "page",
      data: JSON.stringify(data),
      firstId: data[0]?.id ?? null,
      lastId: data.at(-1)?.id ?? null,
      hasMore: at + limit < items.length,
    };
  }

  /** False when nothing was stored. A result that is still to come is refused from now on. */
  async delete(): Promise<boolean> {
    if (this.#row()?.stored !== 1) return false;
    await this.#end();
    return true;
  }

  override async alarm(): Promise<void> {
    await this.#end();
  }

  async #end(): Promise<void> {
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
  }

  #row(): Row | null {
    const tables = this.#sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'response'").toArray();
    return tables.length === 0 ? null : (this.#sql.exec<Row>("SELECT ticket_hash, stored FROM response").toArray()[0] ?? null);
  }

  #write(part: Part, text: string): void {
    const bytes = Buffer.from(text);
    for (let at = 0, number = 0; at < bytes.length; at += PIECE_BYTES, number++) {
      this.#sql.exec("INSERT INTO pieces VALUES (?, ?, ?)", part, number, bytes.subarray(at, at + PIECE_BYTES));
    }
  }

  #read(part: Part): string | null {
    if (this.#row()?.stored !== 1) return null;
    const rows = this.#sql.exec<{ bytes: ArrayBuffer }>("SELECT bytes FROM pieces WHERE part = ? ORDER BY number", part).toArray();
    return Buffer.concat(rows.map(({ bytes }) => new Uint8Array(bytes))).toString();
  }
}
