import { expect, it } from "vitest";
import type { DecideAnswer } from "../../src/router/dispatcher.ts";
import { capacity, MockReplica } from "./mock-replica.ts";
import { TestPool, useClock } from "./support.ts";

useClock();

const places = capacity.sequences + capacity.queueLimit;

/** A replica with no place left: `running` are the ids it runs. */
async function full(name: string): Promise<{ pool: TestPool; replica: MockReplica; running: string[] }> {
  const pool = new TestPool(name);
  const replica = await MockReplica.join(name);
  const running = Array.from({ length: places }, (_, n) => `run-${n}`);
  for (const id of running) {
    await pool.place(id);
    replica.report({ event: "started", id, attempt: 1 });
  }
  replica.running = running.map((id) => ({ id, attempt: 1, state: "started", outputTokens: 0 }));
  return { pool, replica, running };
}

async function settleAll(pool: TestPool, replica: MockReplica, ids: readonly string[]): Promise<void> {
  replica.running = [];
  for (const id of ids) replica.settle(id);
  await pool.until("leases", 0);
}

it("holds a decide while all are full and answers it when a lease settles", async () => {
  const { pool, replica, running } = await full("held");
  const held = pool.decide("late");
  await pool.until("router_queue_pending_requests", 1);
  expect(await pool.metric("leases")).toBe(places);
  replica.settle("run-0");
  expect(await held).toMatchObject({ type: "replica", replica: "r0", attempt: 1 });
  expect(await pool.metric("router_queue_pending_requests")).toBe(0);
  await settleAll(pool, replica, [...running, "late"]);
});

it("answers a waiting claim after 5 s and keeps its place in line", async () => {
  const { pool, replica, running } = await full("renewed");
  const first = pool.decide("first");
  await pool.until("router_queue_pending_requests", 1);
  await pool.passAlive(4_000, [replica]);
  const second = pool.decide("second");
  await pool.until("router_queue_pending_requests", 2);
  await pool.passAlive(1_000, [replica]);
  expect(await first).toEqual({ type: "waiting", position: 0, retryWithinMs: 5_000 });
  const renewed = pool.decide("first", undefined, { waitedMs: 5_000 });
  await pool.until("router_waited_total", 3);
  expect(await pool.metric("router_queue_pending_requests")).toBe(2);
  const order: string[] = [];
  const note = (id: string) => (answer: DecideAnswer) => (order.push(id), answer);
  const answers = [renewed.then(note("first")), second.then(note("second"))];
  replica.settle("run-0");
  expect(await answers[0]).toMatchObject({ type: "replica" });
  expect(order).toEqual(["first"]);
  replica.settle("run-1");
  expect(await answers[1]).toMatchObject({ type: "replica" });
  await settleAll(pool, replica, [...running, "first", "second"]);
});

it("forgets a claim that is not renewed for 7 s, and one whose caller leaves", async () => {
  const { pool, replica, running } = await full("left");
  const silent = pool.decide("silent");
  await pool.until("router_queue_pending_requests", 1);
  await pool.passAlive(6_500, [replica]);
  expect(await silent).toMatchObject({ type: "waiting" });
  const leaving = pool.decide("leaving");
  await pool.until("router_queue_pending_requests", 2);
  await pool.stub.leave("leaving");
  expect(await pool.metric("router_queue_pending_requests")).toBe(1);
  await pool.passAlive(1_000, [replica]);
  expect(await pool.metric("router_queue_pending_requests")).toBe(0);
  await pool.passAlive(4_500, [replica]);
  expect(await leaving).toMatchObject({ type: "waiting" });
  await settleAll(pool, replica, running);
});

it("does not cut short the second hold of a request whose first was answered", async () => {
  const { pool, replica, running } = await full("again");
  const first = pool.decide("retried");
  await pool.until("router_queue_pending_requests", 1);
  await pool.passAlive(2_000, [replica]);
  replica.settle("run-0");
  expect(await first).toMatchObject({ type: "replica", attempt: 1 });
  const other = pool.decide("other");
  await pool.until("router_queue_pending_requests", 1);
  // The forward failed; the place it had goes to the one in line before it.
  const second = pool.decide("retried", undefined, { failed: [{ replica: "r0", attempt: 1 }] });
  expect(await other).toMatchObject({ type: "replica" });
  replica.report({ event: "started", id: "other", attempt: 1 });
  replica.running.push({ id: "other", attempt: 1, state: "started", outputTokens: 0 });
  // The first call's five seconds end here.
  await pool.passAlive(3_500, [replica]);
  replica.settle("run-1");
  expect(await second).toMatchObject({ type: "replica", attempt: 2 });
  replica.settle("retried", 2);
  await settleAll(pool, replica, [...running, "other"]);
});

it("refuses at once what would come after its deadline, and lets the higher class pass", async () => {
  const { pool, replica, running } = await full("urgent");
  // Prompts of that length are known to take 32 s: nobody is refused for a guess.
  for (const round of [1, 2, 3]) {
    replica.running = [];
    for (const id of running) {
      replica.decoding(id, { promptTokens: 32_000, cachedTokens: 0, prefillMs: 32_000 });
      replica.settle(id);
    }
    await pool.until("leases", 0);
    running.forEach((_id, at) => (running[at] = `run-${round}-${at}`));
    for (const id of running) {
      await pool.place(id);
      replica.report({ event: "started", id, attempt: 1 });
    }
  }
  replica.decoding(running[0] ?? "", { promptTokens: 1_000, cachedTokens: 0, prefillMs: 1_000 });
  const normal = pool.decide("normal");
  await pool.until("router_queue_pending_requests", 1);
  const late = await pool.decide("late", undefined, { promptBytes: 400_000, withinMs: 500 });
  expect(late).toMatchObject({ type: "refused", message: expect.stringContaining("deadline") });
  const high = pool.decide("high", undefined, { priority: "high" });
  await pool.until("router_queue_pending_requests", 2);
  replica.settle(running[0] ?? "");
  expect(await high).toMatchObject({ type: "replica" });
  replica.settle(running[1] ?? "");
  expect(await normal).toMatchObject({ type: "replica" });
  await settleAll(pool, replica, [...running, "high", "normal"]);
});

it("ends the lease of a request whose caller leaves while its answer is on the way, and sends the next one", async () => {
  const { pool, replica, running } = await full("gone");
  const gone = pool.decide("gone");
  await pool.until("router_queue_pending_requests", 1);
  const next = pool.decide("next");
  await pool.until("router_queue_pending_requests", 2);
  replica.settle("run-0");
  expect(await gone).toMatchObject({ type: "replica" });
  await pool.stub.leave("gone");
  expect(await next).toMatchObject({ type: "replica", replica: "r0" });
  expect(await pool.stub.leaseAlive("gone", 1)).toBe(false);
  await settleAll(pool, replica, [...running, "next"]);
});
