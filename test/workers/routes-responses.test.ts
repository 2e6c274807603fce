/** Stored responses over HTTP: sent by a replica with a ticket, read by their own tenant only. */
import { createHmac } from "node:crypto";
import { evictDurableObject, listDurableObjectIds, runInDurableObject } from "cloudflare:test";
import { exports, env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { placeOfDay } from "../../src/records/record-day.ts";
import { formatKey } from "../../src/tenancy/key.ts";
import { HEADER } from "../../src/wire/headers.ts";
import { configOf } from "../../workers/env.ts";
import { mintPlacedRequestId } from "../../workers/request-id.ts";
import { responseIdOf, resultTicket, storedResponse } from "../../workers/stored-response.ts";

const mac = (text: string) => createHmac("sha256", "test-secret-of-the-deployment").update(text).digest();
const keyOf = (tenant: string): string => formatKey({ tenant, keyId: "1" }, "0123456789abcdef", mac);
const MIB = 1024 * 1024;

const mintedId = (tenant = "acme"): string => mintPlacedRequestId(configOf(env), tenant, "default");

const ask = (method: string, path: string, tenant = "acme"): Promise<Response> =>
  exports.default.fetch(new Request(`https://edge.test${path}`, { method, headers: { authorization: `Bearer ${keyOf(tenant)}` } }));

const result = (pad = "") => ({
  response: { id: "resp_1", object: "response", status: "completed", pad },
  inputItems: [
    { id: "msg_0", type: "message" },
    { id: "msg_1", type: "message" },
  ],
  messages: [{ role: "user", content: "Hi" }],
});

const storeResponse = (id: string, ticket: string | null, body: string = JSON.stringify(result())): Promise<Response> =>
  exports.default.fetch(
    new Request(`https://edge.test/internal/results/${id}`, {
      method: "PUT",
      body,
      headers: { "content-type": "application/json", ...(ticket === null ? {} : { [HEADER.resultTicket]: ticket }) },
    }),
  );

function opened(): { id: string; ticket: string } {
  const requestId = mintedId();
  return { id: responseIdOf(requestId), ticket: resultTicket(env, "acme", requestId) };
}

it("an id that was never given to this tenant leads to no object", async () => {
  const mine = responseIdOf(mintedId());
  const madeUp = `resp_default_${"0".repeat(32)}`;
  for (const id of [madeUp, responseIdOf(mintedId("other")), mine]) {
    for (const path of [`/v1/responses/${id}`, `/v1/responses/${id}/input_items`]) expect((await ask("GET", path)).status).toBe(404);
  }
  // The one that is mine leads to today's object of mine.
  expect(await listDurableObjectIds(env.RECORDS)).toHaveLength(1);
  expect(storedResponse(env, "acme", madeUp)).toBeNull();
  expect(storedResponse(env, "acme", responseIdOf(mintedId("other")))).toBeNull();
  expect(storedResponse(env, "acme", mine)).not.toBeNull();
});

describe("storing a result", () => {
  it("needs the response's own ticket and nothing else", async () => {
    const { id, ticket } = opened();
    const other = opened();
    const secret = ticket.slice(ticket.indexOf(".") + 1);
    for (const wrong of [null, "", "acme", `acme.${"x".repeat(44)}`, `other.${secret}`, other.ticket, `../acme.${secret}`]) {
      expect((await storeResponse(id, wrong)).status, String(wrong)).toBe(403);
    }
    expect((await storeResponse("resp_nonsense", ticket)).status).toBe(403);
    expect((await ask("GET", `/v1/responses/${id}`)).status).toBe(404);
    expect((await storeResponse(id, ticket)).status).toBe(204);
    // Its answer may have been lost: asking again is no error and changes nothing.
    expect((await storeResponse(id, ticket, JSON.stringify(result("another")))).status).toBe(204);
    expect(await (await ask("GET", `/v1/responses/${id}`)).json()).toEqual(result().response);
  });

  it("is bounded, and must be a result", async () => {
    const { id, ticket } = opened();
    expect((await storeResponse(id, ticket, JSON.stringify(result("x".repeat(4 * MIB))))).status).toBe(413);
    for (const body of ["{", "[]", "{}", JSON.stringify({ ...result(), messages: "Hi" })]) {
      expect((await storeResponse(id, ticket, body)).status).toBe(400);
    }
    expect((await storeResponse(id, ticket, JSON.stringify(result("x".repeat(3 * MIB))))).status).toBe(204);
    const got = await (await ask("GET", `/v1/responses/${id}`)).json<{ pad: string }>();
    expect(got.pad.length).toBe(3 * MIB);
  });
});

it("a tenant's responses of a day lie in one object per pool, whatever they are called", async () => {
  const ids = await Promise.all(
    Array.from({ length: 20 }, async () => {
      const { id, ticket } = opened();
      expect((await storeResponse(id, ticket)).status).toBe(204);
      return id;
    }),
  );
  expect(new Set(ids).size).toBe(20);
  expect(await listDurableObjectIds(env.RECORDS)).toHaveLength(1);
});

it("an object that is full sends on: what is stored then is read and deleted as any other", async () => {
  const { id, ticket } = opened();
  const place = placeOfDay(Date.now());
  const full = env.RECORDS.getByName(`acme/default/${place}/0`);
  await runInDurableObject(full, (_, { storage }) => void storage.sql.exec("CREATE TABLE IF NOT EXISTS spilled (yes INTEGER)"));
  await evictDurableObject(full);
  expect((await storeResponse(id, ticket)).status).toBe(204);
  expect((await ask("GET", `/v1/responses/${id}`)).status).toBe(200);
  expect((await ask("DELETE", `/v1/responses/${id}`)).status).toBe(200);
  expect((await ask("GET", `/v1/responses/${id}`)).status).toBe(404);
  expect((await storeResponse(id, ticket)).status).toBe(403);
});

describe("a stored response", () => {
  it("is read, paged and deleted by its tenant; to all others it does not exist", async () => {
    const { id, ticket } = opened();
    await storeResponse(id, ticket);
    const paths = [
      ["GET", `/v1/responses/${id}`],
      ["GET", `/v1/responses/${id}/input_items`],
      ["POST", `/v1/responses/${id}/cancel`],
      ["DELETE", `/v1/responses/${id}`],
    ] as const;
    for (const [method, path] of paths) {
      const answer = await ask(method, path, "other");
      expect([answer.status, ((await answer.json()) as { error: { param: string } }).error.param]).toEqual([404, "id"]);
    }
    const page = async (query: string) => (await ask("GET", `/v1/responses/${id}/input_items?${query}`)).json();
    const [first, second] = result().inputItems;
    const list = { object: "list", has_more: false };
    expect(await page("")).toEqual({ ...list, data: [second, first], first_id: "msg_1", last_id: "msg_0" });
    expect(await page("order=asc&after=msg_0")).toEqual({ ...list, data: [second], first_id: "msg_1", last_id: "msg_1" });
    for (const query of ["limit=0", "limit=101", "limit=x", "order=up", "after=msg_9"]) {
      expect((await ask("GET", `/v1/responses/${id}/input_items?${query}`)).status, query).toBe(400);
    }
    expect(await (await ask("DELETE", `/v1/responses/${id}`)).json()).toEqual({ id, object: "response", deleted: true });
    for (const [method, path] of paths) expect((await ask(method, path)).status).toBe(404);
    expect((await storeResponse(id, ticket)).status).toBe(403);
  });

  it("is neither resumed nor cancelled", async () => {
    const { id, ticket } = opened();
    await storeResponse(id, ticket);
    for (const query of ["stream=true", "starting_after=5", "stream=true&starting_after=5"]) {
      const answer = await ask("GET", `/v1/responses/${id}?${query}`);
      expect([answer.status, await answer.text()]).toEqual([400, expect.stringContaining("resumed")]);
    }
    const answer = await ask("POST", `/v1/responses/${id}/cancel`);
    expect([answer.status, await answer.text()]).toEqual([400, expect.stringContaining("background")]);
  });

  it("that does not exist can't be gone on from", async () => {
    for (const previous of ["resp_x", responseIdOf(mintedId()), responseIdOf(mintedId("other"))]) {
      const answer = await exports.default.fetch(
        new Request("https://edge.test/v1/responses", {
          method: "POST",
          body: JSON.stringify({ model: "m", input: "Hi", previous_response_id: previous }),
          headers: { authorization: `Bearer ${keyOf("acme")}`, "content-type": "application/json" },
        }),
      );
      expect([answer.status, await answer.json()]).toMatchObject([
        400,
        { error: { code: "previous_response_not_found", param: "previous_response_id" } },
      ]);
    }
  });
});
