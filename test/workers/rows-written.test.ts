/** What the platform bills for SQLite at its $1.00 per million rows written; docs/operations.md has the figures. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { env } from "cloudflare:workers";
import { hashTicket } from "../../workers/objects/response-object.ts";
import { MockReplica } from "./mock-replica.ts";
import { RowMeter } from "./row-meter.ts";
import { chainOf, TestPool, useClock } from "./support.ts";

useClock();

const REQUESTS = 1_000;
const CHECKPOINT_TABLES = ["facts", "parts"];

let meter: RowMeter;
beforeEach(async () => {
  meter = await RowMeter.start();
});
afterEach(() => meter.stop());

/** Requests one after the other, each with its own prompt, run to their ends; `everyMs` apart. */
async function serve(pool: TestPool, replica: MockReplica, requests: number, everyMs: number): Promise<void> {
  const settled = await pool.metric("leases_settled_total");
  for (let n = 0; n < requests; n++) {
    const chain = chainOf(n, 4);
    await pool.place(`r${n}`, chain, { tenant: `tenant-${n % 10}` });
    replica.hold(chain);
    replica.decoding(`r${n}`);
    replica.settle(`r${n}`);
    await pool.until("leases_settled_total", settled + n + 1);
    if (n % 10 === 9) await pool.passAlive(everyMs * 10, [replica]);
  }
}

it.each([
  [100, 10],
  [1, 1_000],
])("1,000 decisions at %d a second cost at most 0.05 rows written each", { timeout: 60_000 }, async (_rate, everyMs) => {
  const pool = new TestPool(`rows-${everyMs}`);
  const replica = await MockReplica.join(pool.name);
  const before = meter.rows();
  await serve(pool, replica, REQUESTS, everyMs);
  await pool.passAlive(60_000, [replica]);
  const rows = Object.entries(meter.rows()).map(([table, count]) => ({ table, count: count - (before[table] ?? 0) }));
  console.log(everyMs, rows);
  const sum = (checkpoint: boolean) =>
    rows.filter(({ table }) => CHECKPOINT_TABLES.includes(table) === checkpoint).reduce((all, { count }) => all + count, 0);
  expect(sum(false)).toBeGreaterThan(0);
  expect(sum(false) / REQUESTS).toBeLessThanOrEqual(0.05);
  replica.close();
});

it("a stored response costs what docs/operations.md says", async () => {
  const stub = env.RESPONSE.getByName("acme/rows");
  await stub.open(hashTicket("acme.ticket"), Date.now() + 3_600_000);
  await stub.store("acme.ticket", { response: "{}", inputItems: "[]", messages: "[]" });
  console.log(meter.rows());
  await stub.delete();
  console.log(meter.rows());
});
