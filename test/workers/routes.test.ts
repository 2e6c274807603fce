import { exports } from "cloudflare:workers";
import { deflateRawSync, deflateSync, gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { formatKey } from "../../src/tenancy/key.ts";
import { createApp } from "../../workers/app.ts";
import { createHmac } from "node:crypto";

const MIB = 1024 * 1024;
const mac = (text: string) => createHmac("sha256", "test-secret-of-the-deployment").update(text).digest();
const keyOf = (tenant: string): string => formatKey({ tenant, keyId: "1" }, "0123456789abcdef", mac);
const bearer = { authorization: `Bearer ${keyOf("acme")}` };

const ask = (path: string, init: RequestInit = {}): Promise<Response> =>
  exports.default.fetch(new Request(`https://edge.test${path}`, init));
const post = (path: string, body: BodyInit, headers: Record<string, string> = {}): Promise<Response> =>
  ask(path, { method: "POST", body, headers: { ...bearer, "content-type": "application/json", ...headers } });

interface Refusal {
  type?: string;
  request_id?: string;
  error: { type: string; message: string; code?: string | null; param?: string | null };
}
const refusal = (response: Response): Promise<Refusal> => response.json<Refusal>();
const chat = JSON.stringify({ model: "none-such", messages: [{ role: "user", content: "Hi" }] });

describe("the root", () => {
  it("answers HEAD and GET without a key", async () => {
    const head = await ask("/", { method: "HEAD" });
    expect([head.status, await head.text()]).toEqual([200, ""]);
    expect(await (await ask("/")).json()).toMatchObject({ name: "warmpath", openapi: "/openapi.json" });
  });
});

describe("cross origin", () => {
  it("answers a preflight without a key, on any path", async () => {
    const asked = "authorization, content-type, x-api-key, anthropic-version, anthropic-beta, x-stainless-lang, x-stainless-retry-count";
    for (const path of ["/v1/messages", "/v1/models", "/nowhere"]) {
      const answer = await ask(path, { method: "OPTIONS", headers: { origin: "https://a.test", "access-control-request-headers": asked } });
      expect(answer.status).toBe(204);
      expect(answer.headers.get("access-control-allow-origin")).toBe("*");
      expect(answer.headers.get("access-control-allow-methods")).toContain("DELETE");
      const allowed = answer.headers.get("access-control-allow-headers")?.split(", ") ?? [];
      expect(allowed).toEqual(expect.arrayContaining(asked.split(", ")));
    }
  });

  it("is allowed on answers and errors, and both spellings of the id can be read", async () => {
    for (const answer of [await ask("/"), await ask("/v1/models"), await ask("/nowhere"), await post("/v1/chat/completions", "{")]) {
      const { headers } = answer;
      expect(headers.get("access-control-allow-origin")).toBe("*");
      expect(headers.get("access-control-expose-headers")).toMatch(/x-request-id, request-id, x-warmpath-pool.*retry-after/);
      expect(headers.get("x-content-type-options")).toBe("nosniff");
      expect(headers.get("x-request-id")).toMatch(/^req_none_[0-9a-f]{32}$/);
      expect(headers.get("request-id")).toBe(headers.get("x-request-id"));
      if (answer.status >= 400) expect(headers.get("cache-control")).toBe("no-store");
    }
  });
});

describe("methods", () => {
  it.each([
    ["GET", "/v1/chat/completions", "POST"],
    ["PUT", "/v1/messages", "POST"],
    ["POST", "/v1/models", "GET, HEAD"],
    ["POST", "/v1/responses/resp_x", "GET, HEAD, DELETE"],
    ["DELETE", "/", "GET, HEAD"],
    ["GET", "/internal/results/resp_x", "PUT"],
  ])("%s %s: 405, Allow: %s", async (method, path, allow) => {
    const answer = await ask(path, { method, headers: bearer });
    expect([answer.status, answer.headers.get("allow")]).toEqual([405, allow]);
    expect((await refusal(answer)).error.message).toContain(allow);
  });

  it("no such path: 404", async () => {
    expect((await ask("/v1/nowhere", { headers: bearer })).status).toBe(404);
  });
});

describe("bodies", () => {
  it.each(["application/json", "application/json; charset=utf-8", "application/vnd.api+json", "text/plain;charset=UTF-8", ""])(
    "taken as %j",
    async (type) => {
      const body = new TextEncoder().encode(chat);
      const headers: Record<string, string> = type === "" ? bearer : { ...bearer, "content-type": type };
      const answer = await ask("/v1/chat/completions", { method: "POST", body, headers });
      expect((await refusal(answer)).error.code).toBe("model_not_found");
    },
  );

  it.each(["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonish", "image/png"])(
    "not taken as %s",
    async (type) => {
      const answer = await post("/v1/chat/completions", chat, { "content-type": type });
      expect(answer.status).toBe(415);
      expect((await refusal(answer)).error.message).toContain("application/json");
    },
  );

  it("packed with gzip and deflate", async () => {
    for (const [coding, packed] of [
      ["gzip", gzipSync(chat)],
      ["deflate", deflateSync(chat)],
      ["deflate", deflateRawSync(chat)],
    ] as const) {
      const answer = await post("/v1/chat/completions", packed, { "content-encoding": coding });
      expect((await refusal(answer)).error.code, coding).toBe("model_not_found");
    }
  });

  it("packed in a way not taken, or broken", async () => {
    for (const coding of ["br", "zstd", "gzip, gzip"]) {
      const answer = await post("/v1/chat/completions", chat, { "content-encoding": coding });
      expect(answer.status).toBe(415);
      expect((await refusal(answer)).error.message).toContain("gzip");
      expect(answer.headers.get("accept-encoding")).toBe("gzip, deflate");
    }
    const untyped = await post("/v1/chat/completions", chat, { "content-type": "image/png", "content-encoding": "gzip" });
    expect([untyped.status, untyped.headers.get("accept-encoding")]).toEqual([415, null]);
    for (const broken of [new TextEncoder().encode(chat), gzipSync(chat).subarray(0, 40)]) {
      const answer = await post("/v1/chat/completions", broken, { "content-encoding": "gzip" });
      expect([answer.status, (await refusal(answer)).error.message]).toEqual([400, expect.stringContaining("not valid gzip")]);
    }
  });

  it("with two lengths, or in a transfer coding that is not chunked", async () => {
    for (const [headers, why] of [
      [{ "transfer-encoding": "chunked", "content-length": String(chat.length) }, "exclude each other"],
      [{ "transfer-encoding": "gzip, chunked" }, "transfer-encoding is not taken"],
    ] as const) {
      const answer = await post("/v1/chat/completions", chat, headers);
      expect([answer.status, (await refusal(answer)).error.message]).toEqual([400, expect.stringContaining(why)]);
    }
  });

  it("that would burst", async () => {
    const member = gzipSync(Buffer.alloc(16 * MIB));
    // 512 MiB in half of one.
    const bomb = Buffer.concat(Array.from({ length: 32 }, () => member));
    expect(bomb.length).toBeLessThan(MIB);
    const startedMs = Date.now();
    const answer = await post("/v1/chat/completions", bomb, { "content-encoding": "gzip" });
    expect(answer.status).toBe(413);
    expect((await refusal(answer)).error.code).toBe("request_too_large");
    expect(Date.now() - startedMs).toBeLessThan(2_000);
    const fits = gzipSync(Buffer.alloc(8 * MIB, " "));
    expect((await post("/v1/chat/completions", fits, { "content-encoding": "gzip" })).status).toBe(400);
  });
});

describe("envelopes", () => {
  it("Anthropic's on messages, with the id of the header", async () => {
    for (const path of ["/v1/messages", "/v1/messages/count_tokens"]) {
      const answer = await post(path, "{", { "anthropic-version": "2026-10-21" });
      const said = await refusal(answer);
      expect(answer.status).toBe(400);
      expect(said).toMatchObject({ type: "error", error: { type: "invalid_request_error" } });
      expect(said.request_id).toBe(answer.headers.get("request-id"));
    }
    const unknown = await ask("/v1/messages", { method: "POST", body: chat });
    expect(await refusal(unknown)).toMatchObject({ type: "error", error: { type: "authentication_error" } });
  });

  it("OpenAI's everywhere else", async () => {
    for (const path of ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/responses/input_tokens"]) {
      const said = await refusal(await post(path, "{"));
      expect(Object.keys(said)).toEqual(["error"]);
      expect(Object.keys(said.error).toSorted()).toEqual(["code", "message", "param", "type"]);
    }
  });

  it("on models by Anthropic's header", async () => {
    expect(await (await ask("/v1/models", { headers: bearer })).json()).toEqual({ object: "list", data: [] });
    for (const version of ["2023-06-01", "2026-10-21"]) {
      const headers = { "x-api-key": keyOf("acme"), "anthropic-version": version };
      expect(await (await ask("/v1/models", { headers })).json()).toEqual({ data: [], has_more: false, first_id: null, last_id: null });
      expect(await refusal(await ask("/v1/models/x", { headers }))).toMatchObject({ type: "error", error: { type: "not_found_error" } });
    }
    expect(await refusal(await ask("/v1/models/x", { headers: bearer }))).toMatchObject({ error: { code: "model_not_found" } });
  });
});

it("the OpenAPI document has every route, and nothing else", async () => {
  const answer = await ask("/openapi.json");
  const document = await answer.json<{ openapi: string; paths: Record<string, Record<string, unknown>> }>();
  expect(document.openapi).toBe("3.1.0");
  const told = Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.keys(operations)
      .filter((method) => method !== "parameters")
      .map((method) => `${method.toUpperCase()} ${path}`),
  );
  const routed = createApp()
    .routes.filter(({ method }) => method !== "ALL")
    .map(({ method, path }) => `${method} ${path.replace(/:(\w+)(\{[^}]*\})?/g, "{$1}")}`);
  expect(told.toSorted()).toEqual([...new Set(routed)].toSorted());
});
