import { runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { DEFAULT_SCHEDULE } from "../../src/prefix/segment.ts";
import type { Hello } from "../../src/wire/control.ts";
import { encodeResidencyFrame } from "../../src/wire/residency-frame.ts";
import { MockReplica } from "./mock-replica.ts";
import { chainOf, TestPool, useClock } from "./support.ts";

useClock();

const schedule = [...DEFAULT_SCHEDULE];
const order = "system-then-tools";

describe("a hello is refused", () => {
  it.each<[string, Partial<Hello>, string, RegExp]>([
    ["a hash spec version it does not know", { hashSpec: { version: 2, schedule, order } }, "hash_spec", /version 2 is not known/],
    ["another hash spec", { hashSpec: { version: 1, schedule, order: "tools-first" } }, "hash_spec", /the pool's hash spec is v1;system/],
    [
      "a schedule that is none",
      { hashSpec: { version: 1, schedule: [{ untilBytes: 4096, segmentBytes: 256 }], order } },
      "hash_spec",
      /untilBytes is null/,
    ],
    ["a wrong token", { token: "wpj_nonsense" }, "bad_token", /token is not this pool's/],
    ["another pool's name", { pool: "elsewhere" }, "wrong_pool", /asked for elsewhere/],
    ["another model", { model: "full-epoch 模型".repeat(8) }, "model", /the pool serves demo/],
    ["another protocol", { protocol: 2 }, "protocol", /speaks protocol 1/],
    ["an older epoch", { replica: "r0", epoch: 999 }, "older_epoch", /a newer epoch of r0 is here/],
    ["a shape that is none", { url: "ftp://r1" }, "malformed", /not understood: url/],
  ])("for %s", async (what, overrides, reason, message) => {
    const pool = new TestPool(`refused-${what.replaceAll(/\W/g, "-")}`);
    await MockReplica.join(pool.name);
    const replica = new MockReplica(pool.name, "r1");
    replica.overrides = overrides;
    await replica.open();
    replica.hello();
    const refused = await replica.next("refused");
    expect(refused.reason).toBe(reason);
    expect(refused.message).toMatch(message);
    expect((await replica.closing()).code).toBe(4000);
    expect(await pool.metric("replicas_ready")).toBe(1);
    expect(await pool.metric("leases")).toBe(0);
  });

  it("when 64 are here", async () => {
    const pool = new TestPool("sixty-four");
    const replicas = await Promise.all(Array.from({ length: 64 }, (_, n) => MockReplica.join(pool.name, `r${n}`)));
    const slots = replicas.map(({ heard }) => heard.find((frame) => frame.type === "welcome")?.slot);
    expect(new Set(slots).size).toBe(64);
    expect(await pool.metric("replicas_ready")).toBe(64);
    const late = new MockReplica(pool.name, "r64");
    await late.open();
    late.hello();
    expect(await late.next("refused")).toMatchObject({ reason: "pool_full", message: expect.stringContaining("64 replicas") });
    expect((await late.closing()).code).toBe(4000);
    const last = replicas[63];
    last?.hold(chainOf(30, 3));
    await pool.until("index_entries", 3);
    expect(await pool.place("req", chainOf(30, 3))).toMatchObject({ replica: "r63" });
    last?.settle("req");
    await pool.until("leases", 0);
  });
});

describe("a frame that is none", () => {
  it.each(["{", '{"type":"nope"}', '{"type":"heartbeat","seq":-1}', new Uint8Array(5), new Uint8Array(16), new Uint8Array(40)])(
    "closes the socket (%#)",
    async (frame) => {
      const pool = new TestPool(`malformed-${typeof frame === "string" ? frame.length : `b${frame.length}`}`);
      const replica = await MockReplica.join(pool.name);
      if (typeof frame === "string") replica.sendText(frame);
      else replica.transmit(frame);
      expect(await replica.next("refused")).toMatchObject({ reason: "malformed", message: expect.stringContaining("not understood") });
      expect((await replica.closing()).code).toBe(4000);
      await pool.until("replicas_ready", 0);
      expect(await pool.metric("leases")).toBe(0);
    },
  );
});

describe("a replica goes", () => {
  it("draining takes nothing new and keeps what it has", async () => {
    const pool = new TestPool("drain");
    const [draining, other] = await Promise.all(["r0", "r1"].map((name) => MockReplica.join(pool.name, name)));
    const chain = chainOf(31, 6);
    draining?.hold(chain);
    await pool.until("index_entries", 6);
    expect(await pool.place("before", chain)).toMatchObject({ replica: "r0" });
    draining?.say({ type: "drain" });
    await pool.until("replicas_ready", 1);
    for (const id of ["after-0", "after-1", "after-2"]) expect(await pool.place(id, chain)).toMatchObject({ replica: "r1" });
    draining?.heartbeat();
    expect(await pool.metric("replicas_ready")).toBe(1);
    draining?.settle("before");
    for (const id of ["after-0", "after-1", "after-2"]) other?.settle(id);
    await pool.until("leases", 0);
  });

  it("is not used from the moment its socket closes, and forgotten within 4 s with its leases", async () => {
    const pool = new TestPool("closed");
    const [gone, other] = await Promise.all(["r0", "r1"].map((name) => MockReplica.join(pool.name, name)));
    if (gone === undefined || other === undefined) throw new Error("two replicas joined");
    const chain = chainOf(32, 6);
    gone.hold(chain);
    await pool.until("index_entries", 6);
    expect(await pool.place("lost", chain)).toMatchObject({ replica: "r0" });
    gone.report({ event: "started", id: "lost", attempt: 1 });
    gone.close();
    await pool.until("replicas_ready", 1);
    expect(await pool.place("next", chain)).toMatchObject({ replica: "r1", cachedTokens: 0 });
    other.settle("next");
    await pool.until("leases", 1);
    await pool.passAlive(4_000, [other]);
    expect(await pool.metric("replicas_suspect")).toBe(0);
    expect(await pool.metric("index_entries")).toBe(0);
    expect(await pool.stub.leaseAlive("lost", 1)).toBe(false);
    expect(await pool.metric("leases")).toBe(0);
  });

  it("silent for 3 s it takes nothing new; for 10 s it is forgotten and its socket closed", async () => {
    const pool = new TestPool("silent");
    const replica = await MockReplica.join(pool.name);
    replica.hold(chainOf(33, 2));
    await pool.until("index_entries", 2);
    await pool.pass(3_250);
    expect(await pool.metric("replicas_suspect")).toBe(1);
    replica.heartbeat();
    await pool.until("replicas_ready", 1);
    await pool.pass(10_250);
    expect(await pool.metric("index_entries")).toBe(0);
    expect((await replica.closing()).code).toBe(4002);
    expect(await pool.metric("leases")).toBe(0);
  });

  it("is replaced by a newer epoch of its name: all of the old is forgotten, and its late frames are not heard", async () => {
    const pool = new TestPool("replaced");
    const old = await MockReplica.join(pool.name);
    old.hold(chainOf(34, 4));
    await pool.until("index_entries", 4);
    await pool.place("lost");
    const [theirs] = await runInDurableObject(pool.stub, (_object, state) => state.getWebSockets());
    const next = new MockReplica(pool.name, "r0", 2_000);
    await next.join();
    expect((await old.closing()).code).toBe(4001);
    // These were under way when the socket was replaced.
    const entries = [{ hash: 7n, tokens: 64, tierBits: 1 }];
    const late = encodeResidencyFrame({ kind: "delta", first: true, last: true, seq: 1, entries });
    await runInDurableObject(pool.stub, (object) => {
      if (theirs === undefined) throw new Error("one socket was open");
      object.webSocketMessage(theirs, late.buffer);
      object.webSocketMessage(theirs, JSON.stringify({ type: "drain" }));
    });
    expect(await pool.metric("index_entries")).toBe(0);
    expect(await pool.metric("replicas_ready")).toBe(1);
    expect(await pool.metric("leases")).toBe(0);
  });

  it("leaves room for another model, also in its own slot", async () => {
    const pool = new TestPool("adopts");
    const old = await MockReplica.join(pool.name);
    old.close();
    await pool.until("replicas_suspect", 1);
    const next = await MockReplica.join(pool.name, "r1", { model: "other" });
    expect(await pool.stub.card()).toMatchObject({ model: "other", replicas: 1 });
    expect(await pool.place("req")).toMatchObject({ replica: "r1" });
    next.settle("req");
    await pool.until("leases", 0);
    expect(next.closed).toBeNull();
  });

  it("that never says hello is sent away after 5 s", async () => {
    const pool = new TestPool("mute");
    const replica = new MockReplica(pool.name);
    await replica.open();
    await pool.pass(5_500);
    expect((await replica.closing()).code).toBe(4002);
    expect(await pool.metric("leases")).toBe(0);
  });
});
