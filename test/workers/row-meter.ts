/** Counts what the platform bills for SQLite: rows written, of every statement of every object of the test. */
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";

/** The platform bills an alarm that is set as one row written. */
const ROWS_OF_AN_ALARM = 1;

export class RowMeter {
  readonly #cursors: { table: string; cursor: { rowsWritten: number } }[] = [];
  #alarms = 0;
  #stop: () => void = () => {};

  /** Objects run in the tests' isolate: the prototype that is wrapped here is theirs too. */
  static async start(): Promise<RowMeter> {
    const meter = new RowMeter();
    await runInDurableObject(env.POOL.getByName("row-meter"), (_object, { storage }) => meter.#wrap(storage));
    return meter;
  }

  stop(): void {
    this.#stop();
  }

  /** By the table that the statement names last; `alarm` for alarms. */
  rows(): Record<string, number> {
    const rows: Record<string, number> = {};
    for (const { table, cursor } of this.#cursors) if (cursor.rowsWritten > 0) rows[table] = (rows[table] ?? 0) + cursor.rowsWritten;
    return this.#alarms === 0 ? rows : { ...rows, alarm: this.#alarms * ROWS_OF_AN_ALARM };
  }

  since(before: Record<string, number>): Record<string, number> {
    const grown = Object.entries(this.rows()).map(([table, rows]): [string, number] => [table, rows - (before[table] ?? 0)]);
    return Object.fromEntries(grown.filter(([, rows]) => rows > 0));
  }

  #wrap(storage: DurableObjectStorage): void {
    const sql = Object.getPrototypeOf(storage.sql) as SqlStorage;
    const alarms = Object.getPrototypeOf(storage) as DurableObjectStorage;
    const [exec, setAlarm] = [Reflect.get(sql, "exec") as SqlStorage["exec"], Reflect.get(alarms, "setAlarm") as typeof alarms.setAlarm];
    const cursors = this.#cursors;
    const alarmSet = (): void => void this.#alarms++;
    sql.exec = function (this: SqlStorage, query: string, ...bindings: unknown[]) {
      const cursor = exec.call(this, query, ...bindings);
      cursors.push({
        table: /^\s*(?:INSERT.*?INTO|UPDATE|DELETE FROM|CREATE TABLE IF NOT EXISTS|DROP TABLE IF EXISTS)\s+(\w+)/.exec(query)?.[1] ?? "",
        cursor,
      });
      return cursor;
    } as SqlStorage["exec"];
    alarms.setAlarm = function (this: DurableObjectStorage, ...given: Parameters<typeof setAlarm>) {
      alarmSet();
      return setAlarm.apply(this, given);
    };
    this.#stop = () => Object.assign(sql, { exec }) && void Object.assign(alarms, { setAlarm });
  }
}
