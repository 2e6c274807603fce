import { expect, it } from "vitest";
import { MockReplica, TOKENS_PER_SEGMENT } from "./mock-replica.ts";
import { chainOf, TestPool, useClock } from "./support.ts";

useClock();

const [old, fresh] = [chainOf(10, 5), chainOf(11, 4)];

/** A replica whose first chain is in the checkpoint and whose second is not. */
async function checkpointed(name: string): Promise<{ pool: TestPool; replica: MockReplica }> {
  const pool = new TestPool(name);
  const replica = await MockReplica.join(name);
  replica.hold(old);
  await pool.until("index_entries", old.length);
  await pool.passAlive(5_500, [replica]);
  expect(await pool.stored(0)).toEqual({ seq: 1, entries: replica.held });
  replica.hold(fresh);
  await pool.until("index_entries", old.length + fresh.length);
  return { pool, replica };
}

async function cachedOf(pool: TestPool, replica: MockReplica, id: string, chain: BigUint64Array): Promise<number> {
  const { cachedTokens, attempt } = await pool.place(id, chain);
  replica.settle(id, attempt);
  await pool.until("leases", 0);
  return cachedTokens;
}

it("asks a replica to join again and only for what is missing; the same chains have the same answers", async () => {
  const { pool, replica } = await checkpointed("evicted");
  const before = [await cachedOf(pool, replica, "a", old), await cachedOf(pool, replica, "b", fresh)];
  expect(before).toEqual([old.length * TOKENS_PER_SEGMENT, fresh.length * TOKENS_PER_SEGMENT]);
  replica.sent.length = 0;
  await pool.evict();
  expect(await pool.stub.card()).toMatchObject({ model: "demo", replicas: 0 });
  expect((await replica.next("welcome")).slot).toBe(0);
  expect(await replica.next("resync")).toEqual({ type: "resync", afterSeq: 1 });
  await pool.until("index_entries", replica.held.size);
  expect(replica.sent).toEqual(["delta"]);
  expect(await pool.metric("replicas_ready")).toBe(1);
  expect([await cachedOf(pool, replica, "c", old), await cachedOf(pool, replica, "d", fresh)]).toEqual(before);
});

it("asks for nothing when the checkpoint has all", async () => {
  const { pool, replica } = await checkpointed("evicted-late");
  await pool.passAlive(5_500, [replica]);
  await pool.evict();
  expect(await pool.metric("index_entries")).toBe(replica.held.size);
  await replica.next("welcome");
  expect(replica.resyncsAsked()).toEqual([]);
  expect(await cachedOf(pool, replica, "a", fresh)).toBe(fresh.length * TOKENS_PER_SEGMENT);
});

it("keeps what it has learnt of its replicas' pace", async () => {
  const { pool, replica } = await checkpointed("evicted-learnt");
  const load = async () => (await pool.stub.card()).load;
  expect(await load()).toMatchObject({ guessed: true, prefillMsPerToken: 1 });
  for (let n = 0; n < 4; n++) {
    await pool.place(`r${n}`, fresh);
    replica.decoding(`r${n}`, { promptTokens: 1_000, cachedTokens: 0, prefillMs: 40 });
    replica.settle(`r${n}`);
    await pool.until("leases", 0);
  }
  const { prefillMsPerToken: learnt, guessed } = await load();
  expect(guessed).toBeUndefined();
  expect(learnt).toBeLessThan(0.2);
  await pool.passAlive(5_500, [replica]);
  await pool.evict();
  await pool.metric("leases");
  await replica.next("welcome");
  await pool.until("replicas_ready", 1);
  const after = await load();
  expect(after.guessed).toBeUndefined();
  expect(after.prefillMsPerToken).toBeCloseTo(learnt, 2);
});

it("keeps the key of the replica's epoch over an eviction, and what the replica runs", async () => {
  const { pool, replica } = await checkpointed("evicted-running");
  const { admissionKey } = replica.heard.find((frame) => frame.type === "welcome") ?? { admissionKey: "" };
  await pool.place("running", fresh);
  replica.running = [{ id: "running", attempt: 1, state: "decoding", outputTokens: 3 }];
  await pool.evict();
  await pool.metric("leases");
  expect((await replica.next("welcome")).admissionKey).toBe(admissionKey);
  expect(await pool.metric("leases")).toBe(1);
  expect(await pool.stub.leaseAlive("running", 1)).toBe(true);
  expect(replica.heard.filter((frame) => frame.type === "cancel")).toEqual([]);
  replica.running = [];
  replica.settle("running");
  await pool.until("leases", 0);
});

it("forgets everything of a replica that comes back with another epoch", async () => {
  const { pool, replica } = await checkpointed("evicted-restarted");
  replica.answersRejoin = false;
  await pool.evict();
  await pool.metric("leases");
  await replica.next("rejoin");
  replica.restart();
  replica.hello();
  await replica.next("welcome");
  expect(await pool.metric("index_entries")).toBe(0);
  expect(replica.resyncsAsked()).toEqual([]);
  replica.hold(fresh);
  await pool.until("index_entries", fresh.length);
  expect(await cachedOf(pool, replica, "a", old)).toBe(0);
});

it("forgets a replica that does not join again", async () => {
  const { pool, replica } = await checkpointed("evicted-gone");
  replica.answersRejoin = false;
  await pool.evict();
  expect(await pool.metric("replicas_suspect")).toBe(1);
  expect(await pool.metric("index_entries")).toBe(old.length);
  await pool.pass(3_500);
  expect(await pool.metric("replicas_suspect")).toBe(0);
  expect(await pool.metric("index_entries")).toBe(0);
  await pool.pass(2_000);
  expect(await replica.closing()).toMatchObject({ code: 4002 });
  expect(await pool.metric("leases")).toBe(0);
});
