/** /metrics and /healthz: who may read them, and what a pool that fails does to them. */
import { env } from "cloudflare:workers";
import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { createHmac } from "node:crypto";
import { afterEach, describe, expect, it, vi } from "vitest";
import { formatKey } from "../../src/tenancy/key.ts";
import { createApp } from "../../workers/app.ts";
import type { Env } from "../../workers/env.ts";
import { parsePrometheus } from "../prometheus-text.ts";

const mac = (text: string) => createHmac("sha256", "test-secret-of-the-deployment").update(text).digest();
const bearer = { authorization: `Bearer ${formatKey({ tenant: "acme", keyId: "1" }, "0123456789abcdef", mac)}` };

type Ask = (path: string, headers?: Record<string, string>, method?: string) => Promise<Response>;

/** An edge of its own, whose pages are its own too. `asked`: calls to pools by now. */
function edgeWith(variables: Partial<Env>, failing: Record<string, "throws" | "hangs"> = {}): { ask: Ask; asked: () => number } {
  let asked = 0;
  const fails = (how: "throws" | "hangs") => () => {
    asked++;
    return how === "hangs" ? new Promise(() => undefined) : Promise.reject(new Error("the object has failed"));
  };
  const pool = env.POOL;
  const names = {
    getByName: (name: string) => {
      const how = failing[name];
      if (how !== undefined) return { card: fails(how), metrics: fails(how) };
      const stub = pool.getByName(name);
      const counted = <T>(call: () => T) => {
        asked++;
        return call();
      };
      return { card: () => counted(() => stub.card()), metrics: () => counted(() => stub.metrics()) };
    },
  };
  const bindings = { ...env, ...variables, POOL: names as unknown as Env["POOL"] };
  const app = createApp();
  const ask: Ask = async (path, headers = {}, method = "GET") => {
    const context = createExecutionContext();
    const answer = await app.fetch(new Request(`http://127.0.0.1:8787${path}`, { method, headers }), bindings, context);
    await waitOnExecutionContext(context);
    return answer;
  };
  return { ask, asked: () => asked };
}

describe("who reads the metrics", () => {
  it("whoever has a key, and nobody else", async () => {
    const { ask } = edgeWith({});
    expect((await ask("/metrics")).status).toBe(401);
    expect((await ask("/metrics", { "x-api-key": "wp_acme_1_forged" })).status).toBe(401);
    expect((await ask("/metrics", bearer)).status).toBe(200);
  });

  it("a program of the same machine without one, where the edge listens on loopback only", async () => {
    const { ask } = edgeWith({ WARMPATH_LISTENS: "loopback" });
    expect((await ask("/metrics")).status).toBe(200);
  });

  it.each(["x-forwarded-for", "x-forwarded-host", "x-real-ip", "forwarded", "via", "cf-connecting-ip", "true-client-ip"])(
    "nobody without a key who comes through a proxy that adds %s",
    async (name) => {
      const { ask } = edgeWith({ WARMPATH_LISTENS: "loopback" });
      expect((await ask("/metrics", { [name]: "203.0.113.7" })).status).toBe(401);
      expect((await ask("/metrics", { [name]: "203.0.113.7", ...bearer })).status).toBe(200);
    },
  );

  it("no page of the web under a name of its own that leads to this machine", async () => {
    const app = createApp();
    const bindings = { ...env, WARMPATH_LISTENS: "loopback" };
    expect((await app.fetch(new Request("http://evil.test:8787/metrics"), bindings, createExecutionContext())).status).toBe(401);
  });
});

describe("status pages", () => {
  afterEach(() => vi.useRealTimers());

  it.each(["/metrics", "/healthz", "/health"])("%s is for no other origin, not on a preflight either", async (path) => {
    const { ask } = edgeWith({ WARMPATH_LISTENS: "loopback" });
    const origin = { origin: "https://evil.test" };
    const preflight = { ...origin, "access-control-request-method": "GET", "access-control-request-headers": "authorization" };
    for (const answer of [await ask(path, origin), await ask(path, preflight, "OPTIONS")]) {
      expect([...answer.headers.keys()].filter((name) => name.startsWith("access-control-"))).toEqual([]);
      expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
    }
  });

  it("one making serves all who ask within a second, at once or one after another", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const { ask, asked } = edgeWith({ WARMPATH_LISTENS: "loopback", WARMPATH_POOLS: "cached-a,cached-b" });
    await Promise.all(Array.from({ length: 20 }, () => ask("/metrics")));
    await ask("/metrics");
    expect(asked()).toBe(2);
    await Promise.all(Array.from({ length: 20 }, (_, index) => ask(index % 2 === 0 ? "/healthz" : "/health")));
    await ask("/healthz", { "cache-control": "no-cache", "x-forwarded-for": "203.0.113.7" });
    expect(asked()).toBe(4);
    expect((await ask("/healthz")).headers.get("cache-control")).toMatch(/max-age=1|no-store/);
    vi.setSystemTime(Date.now() + 999);
    await ask("/metrics");
    expect(asked()).toBe(4);
    vi.setSystemTime(Date.now() + 1);
    await ask("/metrics");
    expect(asked()).toBe(6);
  });

  it("several pools are one valid Prometheus page", async () => {
    const { ask } = edgeWith({ WARMPATH_LISTENS: "loopback", WARMPATH_POOLS: "metrics-a,metrics-b" });
    const answer = await ask("/metrics");
    expect(answer.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    const ready = parsePrometheus(await answer.text()).filter(({ name }) => name === "warmpath_replicas_ready");
    expect(ready.map(({ labels }) => labels)).toEqual([{ pool: "metrics-a" }, { pool: "metrics-b" }]);
  });

  it.each(["throws", "hangs"] as const)("a pool that %s leaves its samples out", async (how) => {
    const { ask } = edgeWith({ WARMPATH_LISTENS: "loopback", WARMPATH_POOLS: "well,broken" }, { broken: how });
    const answer = await ask("/metrics");
    expect(answer.status).toBe(200);
    const samples = parsePrometheus(await answer.text());
    expect(new Set(samples.map(({ labels }) => labels["pool"]))).toEqual(new Set(["well"]));
    const health = await ask("/healthz");
    expect((await health.json<{ pools: object[] }>()).pools).toEqual([
      { pool: "well", model: null, replicas: 0 },
      { pool: "broken", model: null, replicas: 0, error: "does not answer" },
    ]);
  });
});
