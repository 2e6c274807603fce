/** A replica that has the join token and behaves as no replica does: it fails all that it gets, or floods its socket. */
import { describe, expect, it } from "vitest";
import { capacity, MockReplica } from "./mock-replica.ts";
import { TestPool, useClock } from "./support.ts";

useClock();
const roomy = { capacity: { ...capacity, sequences: 64 } };
const failedAt = (replica: MockReplica, attempt: number) => ({ failed: [{ replica: replica.name, attempt, epoch: replica.epoch }] });

/** A request that `replica` fails if it gets it: the edge asks again, and another one ends it well. Whether it went there. */
async function fails(pool: TestPool, replica: MockReplica, other: MockReplica, id: string): Promise<boolean> {
  const first = await pool.place(id);
  if (first.replica !== replica.name) {
    other.settle(id);
    await pool.until("leases", 0);
    return false;
  }
  const again = await pool.place(id, undefined, failedAt(replica, first.attempt));
  expect(again.replica).toBe(other.name);
  other.settle(id, again.attempt);
  await pool.until("leases", 0);
  return true;
}

describe("a replica that fails every request", () => {
  it("gets none after the third, hears of it, and is let in by an answer that came to its end", async () => {
    const pool = new TestPool("fails-all");
    const bad = await MockReplica.join(pool.name, "bad", roomy);
    const good = await MockReplica.join(pool.name, "good", roomy);
    let went = 0;
    for (let at = 0; at < 60; at++) if (await fails(pool, bad, good, `req_fails-all_${at}`)) went++;
    expect(went).toBe(3);
    expect((await bad.next("left_out")).message).toContain("Its last 3 requests");
    expect(await pool.metric("replicas_left_out")).toBe(1);
    const told = JSON.parse((await pool.stub.explain("req_fails-all_59", "acme")) ?? "{}") as { attempts: { reason: string }[] };
    expect(JSON.stringify(told)).toContain("bad is left out for failing every request lately");
    const last = await pool.place("req_fails-all_a", undefined, { answered: [{ replica: "bad", epoch: bad.epoch }] });
    await pool.stub.release("req_fails-all_a", last.attempt);
    expect(await pool.metric("replicas_left_out")).toBe(0);
  });

  it("is asked when no other is ready", async () => {
    const pool = new TestPool("fails-last");
    const bad = await MockReplica.join(pool.name, "bad", roomy);
    for (let at = 0; at < 6; at++) {
      const { attempt } = await pool.place(`req_fails-last_${at}`);
      await pool.stub.release(`req_fails-last_${at}`, attempt, true);
    }
    expect(await pool.metric("replica_failures_total")).toBeGreaterThanOrEqual(3);
    const { replica, attempt } = await pool.place("req_fails-last_z");
    expect(replica).toBe(bad.name);
    await pool.stub.release("req_fails-last_z", attempt);
  });

  it("is not one that was left by its clients, nor one that settles what it writes and drains", async () => {
    const pool = new TestPool("fails-not");
    const left = await MockReplica.join(pool.name, "left", roomy);
    for (let at = 0; at < 6; at++) {
      const { attempt } = await pool.place(`req_fails-not_${at}`);
      await pool.stub.release(`req_fails-not_${at}`, attempt);
    }
    left.say({ type: "drain" });
    await pool.until("replicas_ready", 0);
    expect(await pool.metric("replica_failures_total")).toBe(0);
  });
});

describe("a socket with more frames than a replica has reason to send", () => {
  it.each([
    ["hello", (replica: MockReplica) => replica.hello()],
    ["heartbeat", (replica: MockReplica) => replica.heartbeat()],
    ["drain", (replica: MockReplica) => replica.say({ type: "drain" })],
    ["leases", (replica: MockReplica) => replica.sendText(`{"type":"leases","reports":[]${" ".repeat(100_000)}}`)],
  ])("is closed with a reason: %s", async (kind, send) => {
    const pool = new TestPool(`floods-${kind}`);
    const replica = await MockReplica.join(pool.name, "flood", roomy);
    for (let at = 0; at < 100; at++) send(replica);
    expect(await replica.closing()).toEqual({ code: 4000, reason: expect.stringContaining(`more ${kind} frames`) });
    expect((await replica.next("refused")).reason).toBe("too_fast");
  });

  it("is closed, too, when it names two types", async () => {
    const pool = new TestPool("floods-two");
    const replica = await MockReplica.join(pool.name, "two", roomy);
    replica.sendText(
      '{"type":"leases","type":"heartbeat","seq":0,"entries":0,"load":{"running":0,"queued":0,"usedKvTokens":0},"running":[]}',
    );
    expect((await replica.closing()).reason).toContain("two types");
  });

  it("does not come back at once, again and again", async () => {
    const pool = new TestPool("floods-back");
    const statuses: number[] = [];
    for (let at = 0; at < 40; at++) {
      const headers = { upgrade: "websocket", "x-warmpath-replica": "again" };
      const { status, webSocket } = await pool.stub.fetch("https://pool/announce", { headers });
      webSocket?.accept();
      webSocket?.close();
      statuses.push(status);
    }
    expect(statuses.filter((status) => status === 101).length).toBeLessThan(30);
    expect(statuses.at(-1)).toBe(429);
  });
});
