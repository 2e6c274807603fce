import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { endOfDay, RETENTION_MS } from "../../src/records/record-day.ts";
import { RowMeter } from "./row-meter.ts";

const DAY_MS = 86_400_000;
const dayMs = Math.floor(Date.now() / DAY_MS) * DAY_MS;
const object = (name: string) => env.RECORDS.getByName(name);
type Stub = ReturnType<typeof object>;

const store = (stub: Stub, id: string, response = "{}") => stub.store({ id, parts: { response, messages: '["Grüße 🙂"]' }, dayMs });
const tables = (stub: Stub): Promise<string[]> =>
  runInDurableObject(stub, (_, state) =>
    state.storage.sql
      .exec<{ name: string }>("SELECT name FROM sqlite_master WHERE name IN ('record', 'deleted') ORDER BY name")
      .toArray()
      .map(({ name }) => name),
  );
const alarmAt = (stub: Stub): Promise<number | null> => runInDurableObject(stub, (_, state) => state.storage.getAlarm());
const sizeOf = (stub: Stub): Promise<number> => runInDurableObject(stub, (_, state) => state.storage.sql.databaseSize);

describe("an object in which nothing was stored", () => {
  it("has nothing, and asking makes nothing", async () => {
    const stub = object("acme/nothing");
    expect(await stub.read("resp_1", "response")).toEqual({ type: "none" });
    expect(await stub.delete("resp_1", dayMs)).toBe("none");
    expect(await tables(stub)).toEqual([]);
    expect(await alarmAt(stub)).toBeNull();
  });
});

describe("records of a day", () => {
  it("lie in one object, each with its own texts", async () => {
    const stub = object("acme/many");
    const ids = Array.from({ length: 40 }, (_, n) => `resp_${n}`);
    expect(new Set(await Promise.all(ids.map((id) => store(stub, id, `{"id":"${id}"}`))))).toEqual(new Set(["stored"]));
    for (const id of ids) expect(await stub.read(id, "response")).toEqual({ type: "found", text: `{"id":"${id}"}` });
    expect(await stub.read("resp_0", "messages")).toEqual({ type: "found", text: '["Grüße 🙂"]' });
    expect(await stub.read("resp_0", "nothing")).toEqual({ type: "none" });
    expect(await stub.read("resp_x", "response")).toEqual({ type: "none" });
  });

  it("are written together when they come together: 300 cost less than 300 commits", async () => {
    const stub = object("acme/together");
    await store(stub, "first");
    const turns = await runInDurableObject(stub, async (records) => {
      const done = new Set<number>();
      await Promise.all(
        Array.from({ length: 300 }, async (_, n) => {
          await records.store({ id: `resp_${n}`, parts: { response: "{}" }, dayMs });
          done.add(Date.now());
        }),
      );
      return done.size;
    });
    expect(turns).toBeLessThan(30);
  });

  it("are stored once", async () => {
    const stub = object("acme/once");
    expect(await store(stub, "resp_1", "1")).toBe("stored");
    expect(await store(stub, "resp_1", "2")).toBe("stored_before");
    expect(await stub.read("resp_1", "response")).toEqual({ type: "found", text: "1" });
  });

  it("may be longer than a row", async () => {
    const stub = object("acme/long");
    const long = "🙂ü".repeat(600_000);
    expect(await store(stub, "resp_1", long)).toBe("stored");
    expect(await stub.read("resp_1", "response")).toEqual({ type: "found", text: long });
    expect(await stub.read("resp_1", "messages")).toEqual({ type: "found", text: '["Grüße 🙂"]' });
  });

  it("are kept for 30 days, and nothing is left at the day's end", async () => {
    const stub = object("acme/kept");
    await store(stub, "resp_1");
    const expiresAtMs = await runInDurableObject(stub, (_, { storage }) => {
      const { at } = storage.sql.exec<{ at: number }>("SELECT expires_at AS at FROM record").one();
      storage.sql.exec("UPDATE record SET expires_at = ?", Date.now());
      return at;
    });
    expect(Math.abs(expiresAtMs - Date.now() - RETENTION_MS)).toBeLessThan(10_000);
    expect(await stub.read("resp_1", "response")).toEqual({ type: "none" });
    expect(await alarmAt(stub)).toBe(endOfDay(dayMs));
    expect(await runDurableObjectAlarm(stub)).toBe(true);
    expect(await tables(stub)).toEqual([]);
    expect(await alarmAt(stub)).toBeNull();
  });

  it("begin anew where a day of the ring was not emptied in time", async () => {
    const stub = object("acme/ring");
    await stub.store({ id: "old", parts: { response: "{}" }, dayMs: dayMs - 32 * DAY_MS });
    // The alarm of a day that is over fires at once: either of the two empties it.
    expect(await store(stub, "new")).toBe("stored");
    expect(await stub.read("old", "response")).toEqual({ type: "none" });
    expect(await stub.read("new", "response")).toMatchObject({ type: "found" });
    expect(await alarmAt(stub)).toBe(endOfDay(dayMs));
  });
});

describe("a deleted record", () => {
  it("is gone, once, and its late result is refused", async () => {
    const stub = object("acme/deleted");
    await store(stub, "resp_1");
    await store(stub, "resp_2");
    expect(await stub.delete("resp_1", dayMs)).toBe("deleted");
    expect(await stub.delete("resp_1", dayMs)).toBe("none");
    expect(await stub.read("resp_1", "response")).toEqual({ type: "none" });
    expect(await store(stub, "resp_1")).toBe("deleted");
    expect(await stub.read("resp_2", "response")).toMatchObject({ type: "found" });
  });

  it("gives its room back: of the last one nothing is left but that it was deleted", async () => {
    const stub = object("acme/room");
    const ids = Array.from({ length: 50 }, (_, n) => `resp_${n}`);
    await Promise.all(ids.map((id) => store(stub, id, "x".repeat(40_000))));
    expect(await sizeOf(stub)).toBeGreaterThan(2_000_000);
    for (const id of ids.slice(0, 25)) await stub.delete(id, dayMs);
    expect(await sizeOf(stub)).toBeLessThan(1_200_000);
    const pages = await runInDurableObject(stub, async (records, { storage }) => {
      const before = storage.sql.databaseSize;
      await Promise.all(ids.slice(25).map((id) => records.delete(id, dayMs)));
      return [before, storage.sql.databaseSize];
    });
    expect(pages[1]).toBeLessThan(50_000);
    expect(await store(stub, "resp_0")).toBe("deleted");
    expect(await store(stub, "resp_new")).toBe("stored");
    expect(await alarmAt(stub)).toBe(endOfDay(dayMs));
  });
});

describe("an object that is full", () => {
  it("keeps what it has and sends new records to the next one, for good", async () => {
    const stub = object("acme/full");
    await store(stub, "resp_1");
    await runInDurableObject(stub, (_, { storage }) => void storage.sql.exec("CREATE TABLE spilled (yes INTEGER)"));
    expect(await runInDurableObject(stub, (records) => records.read("resp_1", "response"))).toMatchObject({ type: "found" });
    const other = object("acme/full-2");
    await runInDurableObject(other, (_, { storage }) => void storage.sql.exec("CREATE TABLE spilled (yes INTEGER)"));
    expect(await store(other, "resp_2")).toBe("elsewhere");
    expect(await other.read("resp_2", "response")).toEqual({ type: "elsewhere" });
    expect(await other.delete("resp_2", dayMs)).toBe("elsewhere");
  });
});

it("a stored response costs one row written, its deletion two, and the first of a tenant's day five more for tables and alarm", async () => {
  const meter = await RowMeter.start();
  try {
    const stub = object("acme/rows");
    let before = meter.rows();
    await store(stub, "resp_1");
    expect(meter.since(before)).toEqual({ record: 3, deleted: 2, alarm: 1 });
    before = meter.rows();
    await store(stub, "resp_2");
    expect(meter.since(before)).toEqual({ record: 1 });
    before = meter.rows();
    await stub.delete("resp_2", dayMs);
    expect(meter.since(before)).toEqual({ record: 1, deleted: 1 });
  } finally {
    meter.stop();
  }
});
