/** Which decisions a pool keeps: a tenant's last hundred while others flood, and all but the last flush over the loss of its memory. */
import { expect, it } from "vitest";
import { capacity, MockReplica } from "./mock-replica.ts";
import { RowMeter } from "./row-meter.ts";
import { TestPool, useClock } from "./support.ts";

useClock();

const AT_ONCE = 50;
const LAST = 100;

interface DecisionBody {
  attempts: { why: string; outcome: { ttftMs: number | null; ended: string | null } }[];
}

const told = async (pool: TestPool, id: string, tenant: string): Promise<DecisionBody | null> =>
  JSON.parse((await pool.stub.explain(id, tenant)) ?? "null") as DecisionBody | null;

async function join(name: string): Promise<{ pool: TestPool; replica: MockReplica }> {
  const pool = new TestPool(name);
  const replica = await MockReplica.join(name, "r0", { capacity: { ...capacity, sequences: AT_ONCE + 1 } });
  await pool.until("replicas_ready", 1);
  return { pool, replica };
}

/** Placed, run and settled, so many side by side. */
async function serve(pool: TestPool, replica: MockReplica, tenant: string, requests: number): Promise<void> {
  const settled = await pool.metric("leases_settled_total");
  for (let n = 0; n < requests; n += AT_ONCE) {
    const ids = Array.from({ length: Math.min(AT_ONCE, requests - n) }, (_, at) => `${tenant}${n + at}`);
    await Promise.all(ids.map((id) => pool.place(id, undefined, { tenant })));
    for (const id of ids) replica.decoding(id, { prefillMs: 1 });
    for (const id of ids) replica.settle(id);
    await pool.until("leases_settled_total", settled + n + ids.length);
  }
}

async function found(pool: TestPool, tenant: string): Promise<number> {
  const all = await Promise.all(Array.from({ length: LAST }, (_, n) => told(pool, `${tenant}${n}`, tenant)));
  return all.filter((one) => one?.attempts[0]?.outcome.ended === "settled" && one.attempts[0].why !== "").length;
}

it(
  "finds a tenant's last hundred and a request that runs, behind 1,200 decisions of another, and again without its memory",
  { timeout: 60_000 },
  async () => {
    const { pool, replica } = await join("kept");
    await pool.place("long", undefined, { tenant: "quiet" });
    replica.decoding("long");
    replica.running = [{ id: "long", attempt: 1, state: "decoding", outputTokens: 1 }];
    await serve(pool, replica, "quiet", LAST);
    await serve(pool, replica, "busy", 1_200);
    expect(await found(pool, "quiet")).toBe(LAST);
    await pool.passAlive(11_000, [replica]);
    await pool.evict();
    expect(await found(pool, "quiet")).toBe(LAST);
    expect((await told(pool, "long", "quiet"))?.attempts[0]?.outcome).toMatchObject({ ttftMs: expect.any(Number) as number, ended: null });
    const { records } = await pool.stub.decisionsOf("quiet", 1_000, 1_000_000);
    expect(records).toHaveLength(LAST + 1);
    // What ran on while the memory was lost is completed too.
    await replica.next("welcome");
    replica.running = [];
    replica.settle("long");
    await pool.until("leases", 0);
    expect((await told(pool, "long", "quiet"))?.attempts[0]?.outcome.ended).toBe("settled");
    replica.close();
  },
);

it("shows a decision at once and writes nothing for it", async () => {
  const { pool, replica } = await join("shown");
  const meter = await RowMeter.start();
  await serve(pool, replica, "acme", 3);
  expect((await told(pool, "acme2", "acme"))?.attempts[0]?.why).toMatch(/^r0 was chosen/);
  expect((await pool.stub.decisionsOf("acme", 10, 1_000_000)).records).toHaveLength(3);
  expect(meter.rows()["decision_log"]).toBeUndefined();
  meter.stop();
  replica.close();
});

it("writes what is left before it sleeps, when its replicas have gone", async () => {
  const { pool, replica } = await join("asleep");
  await serve(pool, replica, "acme", 3);
  replica.close();
  await pool.until("replicas_ready", 0);
  await pool.pass(20_000);
  await pool.evict();
  expect((await told(pool, "acme2", "acme"))?.attempts).toHaveLength(1);
});
