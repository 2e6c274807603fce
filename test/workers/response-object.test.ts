import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { hashTicket, type Page, RETENTION_MS, type StoredResult } from "../../workers/objects/response-object.ts";

const HOUR_MS = 3_600_000;
const TICKET = "acme.ticket";
const object = (name: string) => env.RESPONSE.getByName(name);
type Stub = ReturnType<typeof object>;

const result = (items = 3, pad = ""): StoredResult => ({
  response: JSON.stringify({ id: "resp_1", object: "response", pad }),
  inputItems: JSON.stringify(Array.from({ length: items }, (_, index) => ({ id: `msg_${index}`, type: "message" }))),
  messages: JSON.stringify([{ role: "user", content: "Grüße 🙂" }]),
});

const tables = (stub: Stub): Promise<string[]> =>
  runInDurableObject(stub, (_, state) =>
    state.storage.sql
      .exec<{ name: string }>("SELECT name FROM sqlite_master WHERE name IN ('response', 'pieces') ORDER BY name")
      .toArray()
      .map(({ name }) => name),
  );
const alarmAt = (stub: Stub): Promise<number | null> => runInDurableObject(stub, (_, state) => state.storage.getAlarm());

async function stored(name: string, value: StoredResult = result()): Promise<Stub> {
  const stub = object(name);
  await stub.open(hashTicket(TICKET), Date.now() + HOUR_MS);
  expect(await stub.store(TICKET, value)).toBe("stored");
  return stub;
}

describe("a response that nobody opened", () => {
  it("has nothing, takes nothing, and asking creates nothing", async () => {
    const stub = object("acme/unknown");
    expect(await stub.get()).toBeNull();
    expect(await stub.history()).toBeNull();
    expect(await stub.inputItems({ after: null, limit: 20, order: "asc" })).toEqual({ type: "not_found" });
    expect(await stub.delete()).toBe(false);
    expect(await stub.store(TICKET, result())).toBe("refused");
    expect(await tables(stub)).toEqual([]);
    expect(await alarmAt(stub)).toBeNull();
  });
});

describe("a response that was opened", () => {
  it("has nothing yet, and dies when nothing comes", async () => {
    const stub = object("acme/opened");
    const expiresAtMs = Date.now() + HOUR_MS;
    await stub.open(hashTicket(TICKET), expiresAtMs);
    expect(await stub.get()).toBeNull();
    expect(await stub.delete()).toBe(false);
    expect(await alarmAt(stub)).toBe(expiresAtMs);
    expect(await runDurableObjectAlarm(stub)).toBe(true);
    expect(await tables(stub)).toEqual([]);
    expect(await stub.store(TICKET, result())).toBe("refused");
  });

  it("is stored with its own ticket only, once", async () => {
    const stub = object("acme/once");
    await stub.open(hashTicket(TICKET), Date.now() + HOUR_MS);
    for (const ticket of ["", "acme.other", hashTicket(TICKET)]) expect(await stub.store(ticket, result())).toBe("refused");
    expect(await stub.store(TICKET, result())).toBe("stored");
    expect(await stub.store(TICKET, result(0, "another"))).toBe("stored_before");
    await stub.open(hashTicket("acme.other"), 0);
    expect(await stub.store("acme.other", result())).toBe("refused");
    expect(await stub.get()).toBe(result().response);
    expect(await stub.history()).toBe(result().messages);
  });

  it("keeps texts longer than a row", async () => {
    const long = result(1, "🙂ü".repeat(600_000));
    const stub = await stored("acme/long", long);
    expect(await stub.get()).toBe(long.response);
  });
});

describe("a stored response", () => {
  it("is kept for 30 days, then nothing is left", async () => {
    const before = Date.now();
    const stub = await stored("acme/kept");
    const at = (await alarmAt(stub)) ?? 0;
    expect(at).toBeGreaterThanOrEqual(before + RETENTION_MS);
    expect(at).toBeLessThanOrEqual(Date.now() + RETENTION_MS);
    await runDurableObjectAlarm(stub);
    expect(await stub.get()).toBeNull();
    expect(await tables(stub)).toEqual([]);
  });

  it("is deleted with everything, once", async () => {
    const stub = await stored("acme/deleted");
    expect(await stub.delete()).toBe(true);
    expect(await stub.delete()).toBe(false);
    expect(await stub.get()).toBeNull();
    expect(await tables(stub)).toEqual([]);
    expect(await alarmAt(stub)).toBeNull();
  });

  it("pages its input items both ways", async () => {
    const stub = await stored("acme/paged", result(5));
    const ids = async (page: Partial<Page>) => {
      const answer = await stub.inputItems({ after: null, limit: 2, order: "asc", ...page });
      if (answer.type !== "page") return answer.type;
      return [(JSON.parse(answer.data) as { id: string }[]).map(({ id }) => id).join(" "), answer.hasMore];
    };
    expect(await ids({})).toEqual(["msg_0 msg_1", true]);
    expect(await ids({ after: "msg_1" })).toEqual(["msg_2 msg_3", true]);
    expect(await ids({ after: "msg_3" })).toEqual(["msg_4", false]);
    expect(await ids({ after: "msg_4" })).toEqual(["", false]);
    expect(await ids({ order: "desc", limit: 5 })).toEqual(["msg_4 msg_3 msg_2 msg_1 msg_0", false]);
    expect(await ids({ order: "desc", after: "msg_1" })).toEqual(["msg_0", false]);
    expect(await ids({ after: "msg_9" })).toBe("unknown_after");
  });
});
