/** What the checkpoint costs in rows and bytes, which a platform bills and writes, and that what it left is what comes back. */
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, it } from "vitest";
import { IndexCheckpoint } from "../../src/residency/checkpoint.ts";
import { RateBook } from "../../src/rates/rate-book.ts";
import { TIER } from "../../src/residency/tiers.ts";
import { createStorableIndex } from "../../src/residency/typed-array-index.ts";
import type { SavedPool } from "../../src/router/pool.ts";
import { CheckpointStore } from "../../workers/objects/checkpoint-store.ts";
import { MockReplica } from "./mock-replica.ts";
import { chainOf, TestPool, useClock } from "./support.ts";

useClock();

const SAVED: SavedPool = {
  membership: { model: "demo", specFingerprint: "v1", replicas: [] },
  hashSpec: null,
  createdAtSeconds: 7,
  rates: new RateBook().save(),
};

it("costs at most one row in 40 requests at 20 a second, and at most three times the bytes that changed", async () => {
  const pool = new TestPool("checkpoint-rows");
  const replica = await MockReplica.join(pool.name);
  const [rows, bytes] = [await pool.metric("checkpoint_rows_total"), await pool.metric("checkpoint_bytes_total")];
  const [requests, perSecond, segments] = [1_000, 20, 12];
  for (let request = 0; request < requests; request++) {
    replica.hold(chainOf(1_000 + request, segments));
    if (request >= 100) replica.drop(chainOf(900 + request, segments));
    if (request % perSecond === perSecond - 1) await pool.passAlive(1_000, [replica]);
  }
  await pool.passAlive(5_500, [replica]);
  expect(await pool.stored(0)).toEqual({ seq: replica.seq, entries: replica.held });
  expect(((await pool.metric("checkpoint_rows_total")) - rows) / requests).toBeLessThan(1 / 40);
  const changed = (requests + requests - 100) * segments * 16;
  expect((await pool.metric("checkpoint_bytes_total")) - bytes).toBeLessThan(3 * changed);
}, 30_000);

it("writes over rows that are not needed any more, and what it holds comes back after each flush", async () => {
  await runInDurableObject(env.POOL.getByName("checkpoint-ring"), (_object, { storage }) => {
    const store = new CheckpointStore(storage);
    let index = createStorableIndex();
    let checkpoint = new IndexCheckpoint(index);
    const before = store.written.rows;
    for (let flush = 0; flush < 1_000; flush++) {
      for (let nth = 0; nth < 4; nth++)
        index.set(BigInt(1 + ((flush * 4 + nth) % 900)) * 0x9e3779b97f4a7c1n, flush % 3, TIER.device, flush);
      checkpoint.flush((rows) => store.save(SAVED, rows));
      if (flush % 97 !== 0) continue;
      const loaded = new CheckpointStore(storage).load();
      const back = createStorableIndex();
      const restored = new IndexCheckpoint(back);
      expect(loaded?.saved).toEqual(SAVED);
      expect(loaded !== null && restored.load(loaded.position, loaded.pages, loaded.journal)).toBe(true);
      for (const replica of [0, 1, 2]) {
        const [kept, had] = [back, index].map((one) => new Map([...one.entries(replica)].map(({ hash, tokens }) => [hash, tokens])));
        expect(kept).toEqual(had);
      }
      [index, checkpoint] = [back, restored];
    }
    // A row a flush, and 64 pages in 256 flushes.
    expect((store.written.rows - before) / 1_000).toBeLessThan(1.5);
    const kept = storage.sql.exec<{ rows: number }>("SELECT COUNT(*) AS rows FROM journal").one();
    expect(kept.rows).toBeLessThan(600);
  });
});

it("is void, and replicas are asked for everything, where a row is torn", async () => {
  const pool = new TestPool("checkpoint-torn");
  const replica = await MockReplica.join(pool.name);
  replica.hold(chainOf(5, 9));
  await pool.until("index_entries", 9);
  await pool.passAlive(5_500, [replica]);
  await runInDurableObject(
    pool.stub,
    (_object, { storage }) => void storage.sql.exec("UPDATE journal SET data = x'00' WHERE length(data) > 16"),
  );
  await pool.evict();
  expect(await pool.metric("leases")).toBe(0);
  expect(await replica.next("resync")).toEqual({ type: "resync", afterSeq: null });
  await pool.until("index_entries", 9);
});
