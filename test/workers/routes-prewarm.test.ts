/** What the edge tells a replica beside the body: prewarms, pins, and where to fetch blocks. The replica's HTTP side is played by hand. */
import { exports } from "cloudflare:workers";
import { createHmac } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { formatKey } from "../../src/tenancy/key.ts";
import { parseSource } from "../../src/wire/ticket.ts";
import { MockReplica, wayBackAnswer } from "./mock-replica.ts";
import { TestPool } from "./support.ts";

const mac = (text: string) => createHmac("sha256", "test-secret-of-the-deployment").update(text).digest();
const key = formatKey({ tenant: "acme", keyId: "1" }, "0123456789abcdef", mac);
const chat = { model: "demo", messages: [{ role: "user", content: "Hi" }] };
const long = { model: "demo", messages: [{ role: "user", content: "word ".repeat(2_000) }] };
const prewarmed = { object: "prewarm", prompt_tokens: 12, cached_tokens: 0, replica: "d0", tier: "device" };

const ask = (path: string, body: object, headers: Record<string, string> = {}): Promise<Response> =>
  exports.default.fetch(
    new Request(`https://edge.test${path}`, {
      method: "POST",
      body: JSON.stringify(body),
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json", ...headers },
    }),
  );

/** What came to replicas, last one last. */
let asked: { url: string; headers: Headers }[] = [];
let answer: () => Response = () => Response.json(prewarmed);

beforeEach(() => {
  asked = [];
  answer = () => Response.json(prewarmed);
  vi.stubGlobal("fetch", (url: string, init: RequestInit) => {
    const proof = wayBackAnswer(url);
    if (proof !== null) return Promise.resolve(proof);
    asked.push({ url, headers: new Headers(init.headers) });
    return Promise.resolve(answer());
  });
});
afterEach(() => {
  vi.unstubAllGlobals();
});

const pool = new TestPool("default");
const prefill = await MockReplica.join("default", "p0", { roles: ["prefill"] });
const decode = await MockReplica.join("default", "d0", { roles: ["decode"] });
/** Ends what the request that came last left. */
async function settle(): Promise<void> {
  const id = asked.at(-1)?.headers.get("x-request-id") ?? "";
  decode.settle(id);
  await pool.until("leases", 0);
}

describe("POST /v1/prewarm", () => {
  it("goes to the replica's own with an admission, and its lease ends with the answer", async () => {
    const reply = await ask("/v1/prewarm", { ...chat, stream: true, n: 4 }, { "x-warmpath-pin": "15m" });
    expect([reply.status, await reply.json()]).toEqual([200, prewarmed]);
    expect(reply.headers.get("x-warmpath-replica")).toBe("d0");
    const [sent] = asked;
    expect(sent?.url).toBe(`${decode.url}/v1/prewarm`);
    expect(sent?.headers.get("x-warmpath-admission")).toMatch(/^[\w-]{43}\.\{/);
    expect(sent?.headers.get("x-warmpath-pin-ms")).toBe("900000");
    expect(await pool.metric("leases")).toBe(0);
  });

  it("is refused as a chat would be", async () => {
    const unknown = await ask("/v1/prewarm", { ...chat, model: "none-such" });
    expect([unknown.status, (await ask("/v1/prewarm", { model: "demo" })).status]).toEqual([404, 400]);
    expect(asked).toEqual([]);
  });

  it("may have its prompt prefilled elsewhere", async () => {
    expect((await ask("/v1/prewarm", long)).status).toBe(200);
    expect(parseSource(asked[0]?.headers.get("x-warmpath-prefill") ?? "")).toMatchObject({ replica: "p0", url: prefill.url });
    expect(await pool.metric("leases")).toBe(0);
  });
});

describe("pins", () => {
  it.each(["0s", "2h", "soon", "15"])("of %j are refused by name, in the API's own envelope", async (pin) => {
    for (const path of ["/v1/prewarm", "/v1/chat/completions", "/v1/messages"]) {
      const reply = await ask(path, { ...chat, max_tokens: 3 }, { "x-warmpath-pin": pin });
      expect(reply.status).toBe(400);
      expect((await reply.json<{ error: { message: string } }>()).error.message).toContain("x-warmpath-pin");
    }
    expect(asked).toEqual([]);
  });

  it("come from the header or from Anthropic's cache_control, the header first", async () => {
    const content = [{ type: "text", text: "Hi", cache_control: { type: "ephemeral", ttl: "1h" } }];
    const messages = { model: "demo", max_tokens: 3, messages: [{ role: "user", content }] };
    const pins: (string | null | undefined)[] = [];
    for (const [path, body, headers] of [
      ["/v1/messages", messages, {}],
      ["/v1/messages", messages, { "x-warmpath-pin": "30s" }],
      ["/v1/messages/count_tokens", messages, {}],
      ["/v1/chat/completions", chat, { "x-warmpath-pin": "30s" }],
      ["/v1/chat/completions", chat, { "x-warmpath-pin-ms": "5" }],
    ] as const) {
      await (await ask(path, body, headers)).text();
      pins.push(asked.at(-1)?.headers.get("x-warmpath-pin-ms"));
      await settle();
    }
    expect(pins).toEqual(["3600000", "30000", null, "30000", null]);
  });
});

describe("where to fetch blocks", () => {
  it("is said by the pool and never by a client", async () => {
    const forged = { "x-warmpath-prefill": '{"url":"http://evil.test"}', "x-warmpath-pull": '{"url":"http://evil.test"}' };
    await (await ask("/v1/chat/completions", long, forged)).text();
    const [sent] = asked;
    expect(parseSource(sent?.headers.get("x-warmpath-prefill") ?? "")).toMatchObject({ replica: "p0", url: prefill.url });
    expect(sent?.headers.get("x-warmpath-pull")).toBeNull();
    await settle();
    await (await ask("/v1/chat/completions", chat, forged)).text();
    expect([asked[1]?.headers.get("x-warmpath-prefill"), asked[1]?.headers.get("x-warmpath-pull")]).toEqual([null, null]);
    await settle();
  });

  it("is not said for a count", async () => {
    answer = () => Response.json({ input_tokens: 3 });
    await (await ask("/v1/messages/count_tokens", long)).text();
    expect(asked[0]?.headers.get("x-warmpath-prefill")).toBeNull();
    expect(await pool.metric("leases")).toBe(0);
  });
});
