/** Clients with a wrong base URL or a wrong key. */
import { env, exports } from "cloudflare:workers";
import { createHmac } from "node:crypto";
import { describe, expect, it } from "vitest";
import { formatKey } from "../../src/tenancy/key.ts";
import { MockReplica } from "./mock-replica.ts";

const mac = (text: string) => createHmac("sha256", env.WARMPATH_SECRET).update(text).digest();
const key = formatKey({ tenant: "acme", keyId: "1" }, "0123456789abcdef", mac);
const bearer = { authorization: `Bearer ${key}` };
const HINT = "The base URL of OpenAI clients ends in /v1, that of Anthropic clients does not.";

const ask = (method: string, path: string, headers: Record<string, string> = bearer): Promise<Response> => {
  const body =
    method === "POST" ? JSON.stringify({ model: "none-such", max_tokens: 1, messages: [{ role: "user", content: "Hi" }] }) : null;
  return exports.default.fetch(
    new Request(`https://edge.test${path}`, { method, headers: { "content-type": "application/json", ...headers }, body }),
  );
};

interface Refusal {
  type?: string;
  error: { type: string; message: string; code?: string | null };
}

describe("a wrong base URL", () => {
  it.each([
    ["POST", "/chat/completions", "POST /v1/chat/completions"],
    ["POST", "/v1/v1/chat/completions", "POST /v1/chat/completions"],
    ["POST", "/v1//chat/completions", "POST /v1/chat/completions"],
    ["POST", "//v1/chat/completions", "POST /v1/chat/completions"],
    ["POST", "//chat/completions/", "POST /v1/chat/completions"],
    ["POST", "/openai/v1/chat/completions", "POST /v1/chat/completions"],
    ["POST", "/v1/chat/completions/chat/completions", "POST /v1/chat/completions"],
    ["GET", "/chat/completions", "POST /v1/chat/completions"],
    ["POST", "/completions", "POST /v1/completions"],
    ["POST", "/responses", "POST /v1/responses"],
    ["GET", "/responses/resp_x/input_items", "GET /v1/responses/resp_x/input_items"],
    ["DELETE", "/v1/v1/responses/resp_x", "DELETE /v1/responses/resp_x"],
    ["GET", "/models", "GET /v1/models"],
    ["GET", "/v1//models", "GET /v1/models"],
    ["GET", "/v1/v1/models/warmpath-demo", "GET /v1/models/warmpath-demo"],
  ])("%s %s: 404 in OpenAI's envelope, did you mean %s", async (method, path, meant) => {
    const answer = await ask(method, path);
    expect(answer.status).toBe(404);
    const { error, type } = await answer.json<Refusal>();
    expect(type).toBeUndefined();
    expect(error.message).toContain(`Did you mean ${meant}? ${HINT}`);
  });

  it.each([
    ["POST", "/v1/v1/messages", {}, "POST /v1/messages"],
    ["POST", "/messages", {}, "POST /v1/messages"],
    ["POST", "/messages/count_tokens", {}, "POST /v1/messages/count_tokens"],
    ["POST", "/v1/v1/messages/count_tokens?beta=true", {}, "POST /v1/messages/count_tokens"],
    ["GET", "/models", { "anthropic-version": "2023-06-01" }, "GET /v1/models"],
  ])("%s %s with %j: 404 in Anthropic's envelope, did you mean %s", async (method, path, headers, meant) => {
    const answer = await ask(method, path, { ...bearer, ...headers });
    expect(answer.status).toBe(404);
    const { error, type } = await answer.json<Refusal>();
    expect([type, error.type]).toEqual(["error", "not_found_error"]);
    expect(error.message).toContain(`Did you mean ${meant}? ${HINT}`);
  });

  it.each(["/v1/v1/messages", "/messages", "/nowhere", "/v1/nowhere", "/v1/decisions/x"])(
    "%s with anthropic-version and no key speaks Anthropic's",
    async (path) => {
      const answer = await ask("POST", path, { "anthropic-version": "2026-10-21" });
      expect((await answer.json<Refusal>()).type).toBe("error");
    },
  );

  it("a path like none of ours gets no hint", async () => {
    const { error } = await (await ask("GET", "/v1/files")).json<Refusal>();
    expect(error.message).toBe("There is no GET /v1/files.");
  });

  it.each(["/v1/chat/completions/", "/v1/completions/", "/v1/responses/", "/v1/messages/", "/v1/messages/count_tokens/"])(
    "%s is taken, slash and all",
    async (path) => {
      await MockReplica.join("default", "r0");
      const answer = await ask("POST", path);
      const { error } = await answer.json<Refusal>();
      expect(error.message).not.toContain("There is no");
      expect([400, 404]).toContain(answer.status);
      expect(error.message).toMatch(/`prompt`|`input`|model "none-such" does not exist/);
    },
  );

  it("GET /v1/models/ and /health are taken", async () => {
    expect(await (await ask("GET", "/v1/models/")).json()).toMatchObject({ object: "list" });
    const health = await ask("GET", "/health", {});
    expect(await health.json()).toHaveProperty("pools");
  });
});

describe("keys", () => {
  it.each([
    ["no key", {}],
    ["a forged one", { authorization: `Bearer ${key.slice(0, -1)}x` }],
    ["a forged x-api-key", { "x-api-key": "sk-ant-123" }],
    ["a scheme that is no Bearer", { authorization: "Basic abc" }],
    ["an empty Bearer", { authorization: "Bearer " }],
  ])("%s: 401 in words that frameworks know, with a challenge", async (_, headers) => {
    for (const path of [
      "/v1/chat/completions",
      "/v1/messages",
      "/v1/responses",
      "/v1/completions",
      "/v1/models",
      "/v1/v1/messages",
      "/metrics",
    ]) {
      const answer = await ask(path === "/metrics" || path === "/v1/models" ? "GET" : "POST", path, headers as Record<string, string>);
      expect([answer.status, answer.headers.get("www-authenticate")]).toEqual([401, "Bearer"]);
      expect((await answer.json<Refusal>()).error.message).toMatch(/^Incorrect API key provided/);
    }
  });

  it("a request without a key is refused in words that say so", async () => {
    const answer = await ask("GET", "/v1/models", {});
    expect((await answer.json<Refusal>()).error.message).toContain("provided: the request has no key.");
  });

  it.each(["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "Token abc"])(
    "authorization %j leaves the word to x-api-key",
    async (authorization) => {
      expect((await ask("GET", "/v1/models", { authorization, "x-api-key": key })).status).toBe(200);
    },
  );

  it("a Bearer token comes before x-api-key, right or wrong", async () => {
    expect((await ask("GET", "/v1/models", { ...bearer, "x-api-key": "other" })).status).toBe(200);
    expect((await ask("GET", "/v1/models", { authorization: "Bearer other", "x-api-key": key })).status).toBe(401);
  });
});
