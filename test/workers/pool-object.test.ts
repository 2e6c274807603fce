import { createHmac } from "node:crypto";
import { describe, expect, it } from "vitest";
import { decodeAdmission } from "../../src/wire/admission.ts";
import { MockReplica, TOKENS_PER_SEGMENT } from "./mock-replica.ts";
import { chainOf, TestPool, useClock } from "./support.ts";

useClock();

const macOf = (key: string) => (text: string) => createHmac("sha256", Buffer.from(key, "base64url")).update(text).digest("base64url");

describe("join and decide", () => {
  it("takes a lease and mints an admission that verifies under the welcome's key", async () => {
    const pool = new TestPool("admission");
    const replica = new MockReplica(pool.name);
    const { admissionKey, slot } = await replica.join();
    expect(slot).toBe(0);
    expect(await pool.stub.card()).toMatchObject({ pool: "admission", model: "demo", replicas: 1 });
    const chain = chainOf(1, 4);
    replica.hold(chain.subarray(0, 3));
    await pool.until("index_entries", 3);
    const placed = await pool.place("req-1", chain, { bodyBytes: 4_321 });
    expect(placed).toMatchObject({ replica: "r0", url: replica.url, attempt: 1, cachedTokens: 3 * TOKENS_PER_SEGMENT });
    expect(await pool.metric("leases")).toBe(1);
    expect(await pool.stub.leaseAlive("req-1", 1)).toBe(true);
    const same = (a: string, b: string) => a === b;
    expect(decodeAdmission(placed.admission, macOf(admissionKey), same)).toEqual({
      ok: true,
      admission: {
        id: "req-1",
        attempt: 1,
        salt: "salt",
        path: "/v1/chat/completions",
        bodyBytes: 4_321,
        digest: "digest",
        chainTip: chain[3]?.toString(16),
        expiresAtMs: Date.now() + 15_000,
      },
    });
    const otherKey = Buffer.alloc(32, 1).toString("base64url");
    expect(decodeAdmission(placed.admission, macOf(otherKey), same)).toMatchObject({ ok: false });
    replica.settle("req-1");
    await pool.until("leases", 0);
    expect(await pool.stub.leaseAlive("req-1", 1)).toBe(false);
    expect(await pool.metric("leases_settled_total")).toBe(1);
  });

  it("chooses the longest overlap, without gaps", async () => {
    const pool = new TestPool("overlap");
    const replicas = await Promise.all(["r0", "r1", "r2"].map((name) => MockReplica.join(pool.name, name)));
    const chain = chainOf(2, 12);
    const rows = [chain.subarray(0, 3), chain.subarray(0, 9), chain.subarray(1)];
    for (const [at, replica] of replicas.entries()) replica.hold(rows[at] ?? chain);
    await pool.until("index_entries", 3 + 9 + 11);
    expect(await pool.place("first", chain)).toMatchObject({ replica: "r1", cachedTokens: 9 * TOKENS_PER_SEGMENT });
    replicas[1]?.settle("first");
    await pool.until("leases", 0);
    replicas[1]?.drop(chain.subarray(0, 1));
    await pool.until("index_entries", 3 + 8 + 11);
    expect(await pool.place("second", chain)).toMatchObject({ replica: "r0", cachedTokens: 3 * TOKENS_PER_SEGMENT });
    replicas[0]?.settle("second");
    await pool.until("leases", 0);
  });

  it("answers a stale fingerprint with the card", async () => {
    const pool = new TestPool("stale");
    await MockReplica.join(pool.name);
    const answer = await pool.decide("stale-1", chainOf(3, 1), { fingerprint: "v0" });
    expect(answer).toMatchObject({ type: "stale_card", card: { model: "demo", hashSpec: { version: 1 } } });
    expect(await pool.metric("leases")).toBe(0);
  });

  it("gives a released lease's place back and cancels it at the replica", async () => {
    const pool = new TestPool("released");
    const replica = await MockReplica.join(pool.name);
    await pool.place("req");
    await pool.stub.release("req", 1);
    expect(await replica.next("cancel")).toEqual({ type: "cancel", id: "req", attempt: 1 });
    expect(await pool.metric("leases")).toBe(0);
  });

  it("asks another replica after a failed attempt, and counts the attempt", async () => {
    const pool = new TestPool("failed");
    const replicas = await Promise.all(["r0", "r1"].map((name) => MockReplica.join(pool.name, name)));
    const first = await pool.place("req");
    const second = await pool.place("req", undefined, { failed: [{ replica: first.replica, attempt: first.attempt }] });
    expect(second.attempt).toBe(2);
    expect(second.replica).not.toBe(first.replica);
    expect(await pool.metric("leases")).toBe(1);
    replicas.find(({ name }) => name === second.replica)?.settle("req", 2);
    await pool.until("leases", 0);
  });
});

describe("the record of a decision", () => {
  it("is found by id and by its tenant only, and survives eviction", async () => {
    const pool = new TestPool("explained");
    const replica = await MockReplica.join(pool.name);
    const chain = chainOf(4, 2);
    replica.hold(chain);
    await pool.until("index_entries", 2);
    await pool.place("req-9", chain);
    replica.settle("req-9");
    await pool.until("leases", 0);
    // The next tick writes it down; nobody has asked for it yet.
    await pool.pass(1_250);
    await pool.evict();
    const told = await pool.stub.explain("req-9", "acme");
    expect(JSON.parse(told ?? "null")).toMatchObject({ object: "decision", id: "req-9", pool: "explained", attempts: [{ attempt: 1 }] });
    expect(told).toContain("r0 holds 128 of ~128 prompt tokens");
    expect(told).not.toContain("acme");
    expect(await pool.stub.explain("req-9", "other")).toBeNull();
    expect(await pool.stub.explain("req-8", "acme")).toBeNull();
    expect(await pool.metric("leases")).toBe(0);
  });
});
