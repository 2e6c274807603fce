/** What the platform bills for SQLite at its $1.00 per million rows written; docs/operations.md has the figures. */
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ExplainRing } from "../../src/explain/ring.ts";
import { DecisionStore } from "../../workers/objects/decision-store.ts";
import { recordOf } from "../unit/explain/records.ts";
import { candidate, request, viewOf } from "../unit/decision/views.ts";
import { MockReplica, capacity } from "./mock-replica.ts";
import { RowMeter } from "./row-meter.ts";
import { chainOf, TestPool, useClock } from "./support.ts";

useClock();

const REQUESTS = 1_000;
/** Placed and run side by side. */
const AT_ONCE = 10;

let meter: RowMeter;
beforeEach(async () => {
  meter = await RowMeter.start();
});
afterEach(() => meter.stop());

/** Each with a prompt of its own, which its replica then holds; run to its end. */
async function serve(pool: TestPool, replica: MockReplica, everyMs: number): Promise<void> {
  for (let n = 0; n < REQUESTS; n += AT_ONCE) {
    const ids = Array.from({ length: AT_ONCE }, (_, at) => n + at);
    await Promise.all(ids.map((id) => pool.place(`r${id}`, chainOf(id, 4), { tenant: `tenant-${id % 7}` })));
    for (const id of ids) {
      replica.hold(chainOf(id, 4));
      replica.decoding(`r${id}`);
      replica.settle(`r${id}`);
    }
    await pool.until("leases_settled_total", n + AT_ONCE);
    const passMs = everyMs * AT_ONCE;
    if (Math.floor((n * everyMs) / 1_000) === Math.floor((n * everyMs + passMs) / 1_000)) await pool.pass(passMs);
    else await passBeating(pool, replica, passMs);
  }
}

async function passBeating(pool: TestPool, replica: MockReplica, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 2_000) {
    replica.heartbeat();
    await pool.metric("leases");
    await pool.pass(Math.min(2_000, ms - passed));
  }
}

it(
  "1,000 requests at 100 a second cost at most 0.05 rows written each, decisions and checkpoints together",
  { timeout: 60_000 },
  async () => {
    const pool = new TestPool("rows");
    const replica = await MockReplica.join(pool.name, "r0", { capacity: { ...capacity, sequences: AT_ONCE } });
    await passBeating(pool, replica, 6_000);
    const before = meter.rows();
    await serve(pool, replica, 10);
    await passBeating(pool, replica, 10_000);
    const { decision_log: decisions = 0, ...checkpoints } = meter.since(before);
    const rows = Object.values(checkpoints).reduce((sum, count) => sum + count, decisions);
    expect(decisions).toBeGreaterThan(0);
    expect(rows).toBeGreaterThan(decisions);
    expect(rows / REQUESTS).toBeLessThanOrEqual(0.05);
    replica.close();
  },
);

it.each([100, 10, 1, 0.1])(
  "1,000 decisions at %d a second cost at most 0.05 rows each, ended 5 s after or 200 s after",
  async (perSecond) => {
    for (const runsMs of [5_000, 200_000]) {
      const before = meter.rows();
      await runInDurableObject(env.POOL.getByName(`store-${perSecond}-${runsMs}`), (_object, { storage }) => {
        const ring = new ExplainRing();
        const store = new DecisionStore(storage, ring, 0);
        const view = viewOf([candidate(0), candidate(1)]);
        for (let [atMs, made, ended] = [0, 0, 0]; atMs < (REQUESTS / perSecond) * 1_000 + runsMs + 400_000; atMs += 250) {
          for (; made < REQUESTS && made < (atMs * perSecond) / 1_000; made++)
            ring.add({ ...recordOf(view, request(100)), id: `r${made}` });
          for (; ended < ((atMs - runsMs) * perSecond) / 1_000 && ended < REQUESTS; ended++)
            ring.complete(`r${ended}`, 1, { ended: "settled" });
          store.tick(atMs, false);
        }
        expect(ring.unwritten).toBe(0);
      });
      const { decision_log: rows = 0 } = meter.since(before);
      expect(rows / REQUESTS, `of ${runsMs} ms`).toBeLessThanOrEqual(0.05);
    }
  },
);
