/** GET /v1/replicas: who is there and how full its tiers are, for whoever has a key. */
import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { createHmac } from "node:crypto";
import { expect, it } from "vitest";
import { formatKey } from "../../src/tenancy/key.ts";
import { createApp } from "../../workers/app.ts";
import type { Env } from "../../workers/env.ts";
import type { ListedPool } from "../../workers/routes/replicas.ts";
import { capacity, MockReplica } from "./mock-replica.ts";
import { chainOf, TestPool, useClock } from "./support.ts";

useClock();

const mac = (text: string) => createHmac("sha256", "test-secret-of-the-deployment").update(text).digest();
const bearer = { authorization: `Bearer ${formatKey({ tenant: "acme", keyId: "1" }, "0123456789abcdef", mac)}` };
const app = createApp();

/** Of an edge of its own, so that its page is made now. */
async function ask(pools: string, headers: Record<string, string> = bearer, bindings: Partial<Env> = {}): Promise<Response> {
  const context = createExecutionContext();
  const request = new Request("https://edge.test/v1/replicas", { headers });
  const answer = await app.fetch(request, { ...env, WARMPATH_POOLS: pools, ...bindings }, context);
  await waitOnExecutionContext(context);
  return answer;
}
const listed = async (pools: string): Promise<ListedPool[]> => (await (await ask(pools)).json<{ data: ListedPool[] }>()).data;

it("lists every pool's replicas, with what they do and what their tiers hold", async () => {
  const pool = new TestPool("roster-one");
  const replica = await MockReplica.join("roster-one");
  const tiers = [
    { tier: "device" as const, usedTokens: 4_096, roomTokens: 100_000 },
    { tier: "disk" as const, usedTokens: 0, roomTokens: 1_000_000 },
  ];
  replica.say({ type: "heartbeat", seq: 0, entries: 0, load: { usedKvTokens: 0, tiers }, running: [] });
  await pool.place("one", chainOf(3, 2));
  const { sequences, queueLimit } = capacity;
  const said = { name: "r0", state: "ready", leftOut: false, roles: ["prefill", "decode"], sequences, queueLimit };
  expect(await listed("roster-one,roster-other")).toEqual([
    {
      pool: "roster-one",
      model: "demo",
      waiting: 0,
      replicas: [{ ...said, inFlight: 1, queuedMs: expect.any(Number) as number, residency: null, tiers }],
    },
    { pool: "roster-other", model: null, waiting: 0, replicas: [] },
  ]);
  replica.settle("one");
  await pool.until("leases_settled_total", 1);
  replica.close();
});

it("shows nothing without a key, and says which pool does not answer", async () => {
  expect((await ask("roster-three", {})).status).toBe(401);
  const failing = { getByName: () => ({ roster: () => Promise.reject(new Error("the object has failed")) }) };
  const answer = await ask("roster-three", bearer, { POOL: failing as unknown as Env["POOL"] });
  expect([answer.status, await answer.json()]).toEqual([
    200,
    { object: "list", data: [{ pool: "roster-three", error: "does not answer" }] },
  ]);
});
