import { describe, expect, it } from "vitest";
import { MockReplica } from "./mock-replica.ts";
import { chainOf, dice, TestPool, useClock } from "./support.ts";

useClock();

/** Heartbeats until the pool has as many entries as the replica and asks for nothing more: for everything it asks again after 30 s. */
async function converge(pool: TestPool, replica: MockReplica): Promise<void> {
  for (let beat = 0; beat < 18; beat++) {
    replica.heartbeat();
    for (let poll = 0; poll < 2; poll++) await pool.metric("leases");
    await pool.pass(2_000);
  }
  await pool.passAlive(5_500, [replica]);
}

/** Drops some frames, sends some twice, holds some back and lets them go in another order. */
function badLink(replica: MockReplica, roll: () => number): { calm(): void } {
  let waiting: Uint8Array[] = [];
  const flush = (): void => {
    const frames = waiting.map((bytes) => ({ bytes, at: roll() })).toSorted((a, b) => a.at - b.at);
    waiting = [];
    for (const { bytes } of frames) replica.transmit(bytes);
  };
  replica.link = (bytes) => {
    const fate = roll();
    if (fate < 0.2) return;
    if (fate < 0.5) waiting.push(bytes);
    else replica.transmit(bytes);
    if (fate > 0.85) replica.transmit(bytes);
    if (roll() < 0.25) flush();
  };
  return {
    calm() {
      flush();
      replica.link = (bytes) => replica.transmit(bytes);
    },
  };
}

describe("lost, delayed and reordered frames", () => {
  it.each(Array.from({ length: 12 }, (_, seed) => seed + 1))("end in the replica's truth (seed %i)", async (seed) => {
    const pool = new TestPool(`shuffle-${seed}`);
    const replica = await MockReplica.join(pool.name);
    const roll = dice(seed);
    const hashes = chainOf(seed, 40);
    replica.fullFrameEntries = 5;
    const link = badLink(replica, roll);
    for (let step = 0; step < 40; step++) {
      const entries = Array.from({ length: 1 + Math.floor(roll() * 4) }, () => {
        const depth = Math.floor(roll() * hashes.length);
        return { hash: hashes[depth] ?? 1n, tokens: (depth + 1) * 64, tierBits: roll() < 0.35 ? 0 : 1 + Math.floor(roll() * 15) };
      });
      replica.delta(entries);
      // Only a part of the frames can be had again.
      if (replica.journal.length > 6) replica.journal.shift();
      if (roll() < 0.2) replica.heartbeat();
      await pool.metric("leases");
      if (roll() < 0.3) await pool.pass(500);
    }
    link.calm();
    await converge(pool, replica);
    expect(await pool.stored(0)).toEqual({ seq: replica.seq, entries: replica.held });
    expect(await pool.metric("leases")).toBe(0);
  });
});

describe("a full resync", () => {
  it("comes in several frames", async () => {
    const pool = new TestPool("full");
    const replica = new MockReplica(pool.name);
    replica.fullFrameEntries = 3;
    replica.hold(chainOf(20, 10));
    replica.journal = [];
    replica.sent.length = 0;
    await replica.join();
    await pool.until("index_entries", 10);
    expect(replica.resyncsAsked()).toEqual([null]);
    expect(replica.sent).toEqual(["full", "full", "full", "full"]);
    await pool.passAlive(5_500, [replica]);
    expect(await pool.stored(0)).toEqual({ seq: 1, entries: replica.held });
    expect(replica.resyncsAsked()).toEqual([null]);
  });

  it("is not believed when it broke off before the socket closed", async () => {
    const pool = new TestPool("full-half");
    const replica = new MockReplica(pool.name);
    replica.fullFrameEntries = 3;
    replica.hold(chainOf(21, 9));
    replica.journal = [];
    let frames = 0;
    replica.link = (bytes) => {
      if (++frames <= 2) replica.transmit(bytes);
    };
    await replica.join();
    await pool.until("index_entries", 6);
    replica.close();
    await pool.until("replicas_ready", 0);
    replica.link = (bytes) => replica.transmit(bytes);
    await replica.join();
    await pool.until("index_entries", 9);
    expect(replica.resyncsAsked()).toEqual([null, null]);
    expect(await pool.metric("leases")).toBe(0);
  });

  it("is asked for when the counts differ though no frame is missing", async () => {
    const pool = new TestPool("full-count");
    const replica = await MockReplica.join(pool.name);
    replica.hold(chainOf(22, 3));
    await pool.until("index_entries", 3);
    for (const hash of chainOf(22, 1)) replica.held.delete(hash);
    replica.heartbeat();
    expect(await replica.next("resync")).toEqual({ type: "resync", afterSeq: null });
    await pool.until("index_entries", 2);
    expect(await pool.metric("leases")).toBe(0);
  });
});
