/** The machine's clock is set by an hour while a pool has replicas: its timers go on, and nobody is refused for it. */
import { expect, it, vi } from "vitest";
import { MockReplica } from "./mock-replica.ts";
import { chainOf, TestPool, useClock } from "./support.ts";

useClock();

const HOUR_MS = 3_600_000;
const JUMPS = [-HOUR_MS, HOUR_MS];

it.each(JUMPS)("a silent replica is suspect after 3 s and gone after 10 s when the clock was set by %d ms", async (jumpMs) => {
  const pool = new TestPool(`clock-silent-${jumpMs}`);
  const replica = await MockReplica.join(pool.name);
  replica.heartbeat();
  await pool.until("replicas_ready", 1);
  vi.setSystemTime(Date.now() + jumpMs);
  // What the jump itself may count for is at most 1 s.
  await pool.pass(1_750);
  expect(await pool.metric("replicas_suspect")).toBe(0);
  await pool.pass(1_750);
  expect(await pool.metric("replicas_suspect")).toBe(1);
  await pool.pass(7_000);
  expect(await pool.metric("replicas_suspect")).toBe(0);
  expect((await replica.closing()).code).toBe(4002);
});

it.each(JUMPS)("the checkpoint is never more than 10 s old when the clock was set by %d ms", async (jumpMs) => {
  const pool = new TestPool(`clock-checkpoint-${jumpMs}`);
  const replica = await MockReplica.join(pool.name);
  await pool.passAlive(6_000, [replica]);
  vi.setSystemTime(Date.now() + jumpMs);
  await pool.passAlive(1_000, [replica]);
  replica.hold(chainOf(70, 5));
  await pool.until("index_entries", 5);
  await pool.passAlive(6_000, [replica]);
  expect((await pool.stored(0))?.entries.size).toBe(5);
});

it.each(JUMPS)("an admission lives 15 s on the clock that replicas were told, when the machine's was set by %d ms", async (jumpMs) => {
  const pool = new TestPool(`clock-admission-${jumpMs}`);
  const replica = new MockReplica(pool.name);
  const { poolNowMs } = await replica.join();
  await pool.passAlive(2_000, [replica]);
  vi.setSystemTime(Date.now() + jumpMs);
  await pool.passAlive(20_000, [replica]);
  const { admission } = await pool.place("req");
  const { expiresAtMs } = JSON.parse(admission.slice(admission.indexOf(".") + 1)) as { expiresAtMs: number };
  // 22 s have passed for the replica, and it is a second or so wrong at most.
  expect(Math.abs(expiresAtMs - 15_000 - (poolNowMs + 22_000))).toBeLessThanOrEqual(1_500);
  // Heartbeats are answered with the pool's time, and what is left of the difference goes with the next.
  replica.heartbeat();
  await pool.metric("leases");
  const said = replica.heard.findLast((frame) => frame.type === "time")?.poolNowMs ?? 0;
  expect(Math.abs(said - (poolNowMs + 22_000))).toBeLessThanOrEqual(1_500);
  replica.settle("req");
  await pool.until("leases", 0);
});

it("counts a request's wait and its deadline as durations, whatever its edge's clock says", async () => {
  const pool = new TestPool("clock-durations");
  const replica = await MockReplica.join(pool.name);
  const running = ["run-0", "run-1", "run-2"];
  for (const id of running) await pool.place(id);
  replica.decoding("run-0", { prefillMs: 1_000 });
  for (const id of running) replica.running.push({ id, attempt: 1, state: "started", outputTokens: 0 });
  const long = pool.decide("long", undefined, { waitedMs: Infinity, withinMs: 60_000 });
  await pool.until("router_queue_pending_requests", 1);
  expect(await pool.decide("late", undefined, { promptBytes: 400_000, withinMs: -1 })).toMatchObject({ type: "refused" });
  replica.settle("run-0");
  expect(await long).toMatchObject({ type: "replica" });
  for (const id of ["run-1", "run-2", "long"]) replica.settle(id);
  await pool.until("leases", 0);
});
