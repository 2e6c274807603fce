/** A replica's lives: work is sent to one that has its key, and what was meant for the life before is decided again at no cost. */
import { exports } from "cloudflare:workers";
import { createHmac } from "node:crypto";
import { afterEach, describe, expect, it, vi } from "vitest";
import { formatKey } from "../../src/tenancy/key.ts";
import { decodeAdmission } from "../../src/wire/admission.ts";
import { capacity, MockReplica, wayBackAnswer } from "./mock-replica.ts";
import { TestPool } from "./support.ts";

const same = (a: string, b: string): boolean => a === b;
const places = capacity.sequences + capacity.queueLimit;

describe("a key", () => {
  it("is its replica's, by a heartbeat after the welcome, before anything is sent under it", async () => {
    const pool = new TestPool("key-confirmed");
    const replica = new MockReplica(pool.name);
    replica.confirms = false;
    expect(await replica.join()).toMatchObject({ epoch: 1_000 });
    const held = pool.decide("early");
    await pool.until("router_queue_pending_requests", 1);
    expect(await pool.metric("replicas_ready")).toBe(0);
    replica.heartbeat();
    const placed = await held;
    expect(placed).toMatchObject({ type: "replica", replica: "r0", epoch: 1_000 });
    expect(placed.type === "replica" && decodeAdmission(placed.admission, replica.mac, same).ok).toBe(true);
    replica.settle("early");
    await pool.until("leases", 0);
  });

  it("is a new one for a new epoch, and the same for the same, over whatever socket", async () => {
    const pool = new TestPool("key-kept");
    const replica = new MockReplica(pool.name);
    const first = await replica.join();
    replica.close();
    await pool.until("replicas_suspect", 1);
    const again = await replica.join();
    expect(again.admissionKey).toBe(first.admissionKey);
    replica.restart();
    replica.confirms = false;
    replica.hello();
    const next = await replica.next("welcome");
    expect([next.epoch, next.admissionKey === first.admissionKey]).toEqual([1_001, false]);
    expect(await pool.metric("replicas_ready")).toBe(0);
    // Lost on its way: the replica comes back in the same epoch and does not have the key yet.
    replica.close();
    await pool.until("replicas_suspect", 1);
    expect((await replica.join()).admissionKey).toBe(next.admissionKey);
    expect(await pool.metric("replicas_ready")).toBe(0);
    replica.heartbeat();
    await pool.until("replicas_ready", 1);
    replica.close();
  });
});

describe("frames that no honest replica sends", () => {
  it.each(["1.8e308", "1.7e308", "5e-324", "-1"])("a time of %s ms closes no socket and keeps nobody from a free replica", async (ms) => {
    const pool = new TestPool(`wild-${ms}`);
    const [wild, honest] = [await MockReplica.join(pool.name, "r0"), await MockReplica.join(pool.name, "r1")];
    await pool.until("replicas_ready", 2);
    const placed = await pool.place("first");
    const speaker = placed.replica === "r0" ? wild : honest;
    const other = speaker === wild ? honest : wild;
    speaker.sendText(
      `{"type":"leases","reports":[{"event":"decoding","id":"first","attempt":1,"promptTokens":64,"cachedTokens":0,"prefillMs":${ms},"loadedTokens":9,"loadMs":${ms},"transfer":{"kind":"pull","replica":"r1","outcome":"used","bytes":1,"ms":${ms},"tokens":9}}]}`,
    );
    await pool.until("reports_cut_total", 1);
    expect(speaker.closed).toBeNull();
    // Every place that there is, and one more in line.
    const ids = Array.from({ length: 2 * places - 1 }, (_, n) => `next-${n}`);
    const answers = await Promise.all(ids.map((id) => pool.place(id)));
    expect(answers.filter(({ replica }) => replica === other.name)).toHaveLength(places);
    for (const [n, { replica }] of answers.entries()) (replica === "r0" ? wild : honest).settle(`next-${n}`);
    speaker.settle("first");
    await pool.until("leases", 0);
  });

  it("a hello that names 4,096 running requests takes the places it has, and is told to cancel the rest", async () => {
    const pool = new TestPool("wild-hello");
    const running = Array.from({ length: 4_096 }, (_, n) => ({ id: `ghost-${n}`, attempt: 1, state: "started" as const, outputTokens: 0 }));
    const replica = await MockReplica.join(pool.name, "r0", { running });
    expect(await pool.metric("leases")).toBe(places);
    for (let n = places; n < 4_096; n++) expect((await replica.next("cancel")).id).toBe(`ghost-${n}`);
    for (let n = 0; n < places; n++) replica.settle(`ghost-${n}`);
    await pool.until("leases", 0);
  });

  it("a report of another's lease ends nothing", async () => {
    const pool = new TestPool("wild-stranger");
    const [r0, r1] = [await MockReplica.join(pool.name, "r0"), await MockReplica.join(pool.name, "r1")];
    const { replica } = await pool.place("req");
    const [owner, stranger] = replica === "r0" ? [r0, r1] : [r1, r0];
    stranger.settle("req");
    stranger.report({ event: "refused", id: "req", attempt: 1 });
    await pool.until("reports_stray_total", 2);
    expect(await pool.stub.leaseAlive("req", 1)).toBe(true);
    expect(await pool.metric("leases_settled_total")).toBe(0);
    owner.settle("req");
    await pool.until("leases", 0);
  });
});

describe("a replica that began a new epoch after the pool had decided", () => {
  const mac = (text: string) => createHmac("sha256", "test-secret-of-the-deployment").update(text).digest();
  const key = formatKey({ tenant: "acme", keyId: "1" }, "0123456789abcdef", mac);
  const body = JSON.stringify({ model: "demo", messages: [{ role: "user", content: "Hi" }] });
  const ask = (): Promise<Response> =>
    exports.default.fetch(
      new Request("https://edge.test/v1/chat/completions", {
        method: "POST",
        body,
        headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      }),
    );
  afterEach(() => {
    vi.unstubAllGlobals();
  });

  it("is asked again in its new epoch, by the same request, whose first try that is", async () => {
    const pool = new TestPool("default");
    const replica = await MockReplica.join("default");
    const asked: Headers[] = [];
    // More often than a request may be tried.
    const restarts = 5;
    vi.stubGlobal("fetch", (url: string, init: RequestInit) => {
      const proof = wayBackAnswer(url);
      if (proof !== null) return Promise.resolve(proof);
      const headers = new Headers(init.headers);
      asked.push(headers);
      if (asked.length <= restarts) return Promise.resolve(Response.json({ error: { code: "epoch_replaced" } }, { status: 409 }));
      const admission = headers.get("x-warmpath-admission") ?? "";
      const admitted = headers.get("x-warmpath-epoch") === String(replica.epoch) && decodeAdmission(admission, replica.mac, same).ok;
      return Promise.resolve(Response.json({ object: "chat.completion" }, { status: admitted ? 200 : 403 }));
    });
    const answering = ask();
    // Its engine starts anew while the request is on its way; the pool hears of it after the edge.
    for (let n = 1; n <= restarts; n++) {
      while (asked.length < n || (await pool.metric("router_queue_pending_requests")) === 0) await pool.metric("leases");
      expect(asked).toHaveLength(n);
      replica.restart();
      replica.hello();
    }
    const reply = await answering;
    expect(reply.status).toBe(200);
    await reply.text();
    expect(reply.headers.get("x-warmpath-attempts")).toBe("1");
    expect(asked.map((headers) => headers.get("x-warmpath-epoch"))).toEqual(["1000", "1001", "1002", "1003", "1004", "1005"]);
    expect(await pool.metric("router_retries_total")).toBe(0);
    replica.settle(asked[0]?.get("x-request-id") ?? "", 6);
    await pool.until("leases", 0);
    replica.close();
  });
});
