/** Blocks from another replica: prefilled there, or pulled. */
import { describe, expect, it } from "vitest";
import { decodeAdmission } from "../../src/wire/admission.ts";
import { decodeTicket } from "../../src/wire/ticket.ts";
import { MockReplica, TOKENS_PER_SEGMENT } from "./mock-replica.ts";
import { chainOf, TestPool, useClock } from "./support.ts";

useClock();

const same = (a: string, b: string) => a === b;
const LONG = { promptBytes: 4_000 };

async function disaggregated(name: string): Promise<{ pool: TestPool; prefill: MockReplica; decode: MockReplica }> {
  const pool = new TestPool(name);
  const prefill = await MockReplica.join(name, "p0", { roles: ["prefill"] });
  const decode = await MockReplica.join(name, "d0", { roles: ["decode"] });
  return { pool, prefill, decode };
}

const attempts = async (pool: TestPool, id: string): Promise<{ decision: object; outcome: object }[]> =>
  (JSON.parse((await pool.stub.explain(id, "acme")) ?? '{"attempts":[]}') as { attempts: { decision: object; outcome: object }[] })
    .attempts;

describe("a remote prefill", () => {
  it("takes a lease on both, and its ticket is under the key of the replica that prefills", async () => {
    const { pool, prefill, decode } = await disaggregated("remote");
    expect(await pool.stub.card()).toMatchObject({ replicas: 1 });
    const chain = chainOf(50, 3);
    const placed = await pool.place("req", chain, LONG);
    expect(placed).toMatchObject({ replica: "d0", prefill: { replica: "p0", url: prefill.url } });
    expect(placed.pull).toBeUndefined();
    expect(await pool.metric("leases")).toBe(2);
    expect(await pool.metric("remote_prefills_total")).toBe(1);
    const { ticket = "" } = placed.prefill ?? {};
    const chainTip = chain[2]?.toString(16);
    const expiresAtMs = Date.now() + 15_000;
    expect(decodeTicket(ticket, prefill.mac, same)).toEqual({
      ok: true,
      ticket: { id: "req~prefill", attempt: 1, salt: "salt", from: prefill.url, chainTip, expiresAtMs, kind: "prefill", digest: "digest" },
    });
    expect(decodeTicket(ticket, decode.mac, same)).toMatchObject({ ok: false });
    expect(decodeAdmission(ticket, prefill.mac, same)).toMatchObject({ ok: false });
    expect(decodeAdmission(placed.admission, decode.mac, same)).toMatchObject({ ok: true });
    prefill.decoding("req~prefill", { prefillMs: 100 });
    prefill.settle("req~prefill");
    await pool.until("leases", 1);
    const transfer = { kind: "prefill", replica: "p0", outcome: "used", bytes: 5_000, ms: 12, tokens: 990 } as const;
    decode.decoding("req", { transfer, loadMs: 3, loadedTokens: 10 });
    decode.settle("req");
    await pool.until("leases", 0);
    // What was prefilled for another is counted once.
    expect([await pool.metric("leases_settled_total"), await pool.metric("router_prompt_tokens_total")]).toEqual([1, 100]);
    expect(await pool.metric("transfers_used_total")).toBe(1);
    const [told] = await attempts(pool, "req");
    expect(told?.decision).toMatchObject({
      transfer: { kind: "prefill", name: "p0" },
      reason: expect.stringContaining("p0 prefills the 1,000"),
    });
    expect(told?.outcome).toMatchObject({ transfer, loadMs: 3, loadedTokens: 10, ended: "settled" });
  });

  it("ends on both when the edge gives the request up", async () => {
    const { pool, prefill, decode } = await disaggregated("given-up");
    await pool.place("req", chainOf(51, 3), LONG);
    await pool.stub.release("req", 1);
    expect(await prefill.next("cancel")).toEqual({ type: "cancel", id: "req~prefill", attempt: 1 });
    expect(await decode.next("cancel")).toEqual({ type: "cancel", id: "req", attempt: 1 });
    expect(await pool.metric("leases")).toBe(0);
  });

  it("that failed is reported, and its lease is free at once", async () => {
    const { pool, decode } = await disaggregated("fell-back");
    await pool.place("req", chainOf(52, 3), LONG);
    const transfer = { kind: "prefill", replica: "p0", outcome: "fallback", why: "unreachable", bytes: 0, ms: 250, tokens: 0 } as const;
    decode.decoding("req", { transfer });
    await pool.until("leases", 1);
    expect(await pool.metric("transfers_fallback_total")).toBe(1);
    expect((await attempts(pool, "req"))[0]?.outcome).toMatchObject({ transfer });
    decode.settle("req");
    await pool.until("leases", 0);
  });

  it("is done again under the next attempt's own lease", async () => {
    const { pool, decode } = await disaggregated("again");
    const second = await MockReplica.join(pool.name, "d1", { roles: ["decode"] });
    const first = await pool.place("req", chainOf(53, 3), LONG);
    const again = await pool.place("req", chainOf(53, 3), { ...LONG, failed: [{ replica: first.replica, attempt: 1 }] });
    expect([again.attempt, again.prefill?.replica, again.replica === first.replica]).toEqual([2, "p0", false]);
    expect(await pool.metric("leases")).toBe(2);
    // Chance says which of the two equals was first.
    (again.replica === "d1" ? second : decode).settle("req", 2);
    // The prefill's own report is missing: it ends with the request.
    await pool.until("leases", 0);
  });

  it("survives a heartbeat and a rejoin by its own name", async () => {
    const { pool, prefill, decode } = await disaggregated("named");
    await pool.place("req", chainOf(54, 3), LONG);
    prefill.running = [{ id: "req~prefill", attempt: 1, state: "started", outputTokens: 0 }];
    decode.running = [{ id: "req", attempt: 1, state: "started", outputTokens: 0 }];
    await pool.passAlive(6_000, [prefill, decode]);
    expect(await pool.metric("leases")).toBe(2);
    [prefill.running, decode.running] = [[], []];
    prefill.settle("req~prefill");
    decode.settle("req");
    await pool.until("leases", 0);
  });

  it("is not asked for a short prompt, a count, or of a replica that decodes too", async () => {
    const { pool } = await disaggregated("not-asked");
    for (const [id, more] of [
      ["short", { promptBytes: 400 }],
      ["count", { ...LONG, counts: true }],
    ] as const) {
      const placed = await pool.place(id, chainOf(55, 1), more);
      expect([placed.prefill, placed.pull]).toEqual([undefined, undefined]);
      await pool.stub.release(id, 1);
    }
    const both = new TestPool("both-roles");
    await Promise.all(["b0", "b1"].map((name) => MockReplica.join(both.name, name, { transfers: true })));
    expect((await both.place("req", chainOf(55, 1), LONG)).prefill).toBeUndefined();
    await both.stub.release("req", 1);
  });

  it("has nobody to decode for while only prefill replicas are here", async () => {
    const pool = new TestPool("no-decoder");
    await MockReplica.join(pool.name, "p0", { roles: ["prefill"] });
    expect(await pool.stub.card()).toMatchObject({ replicas: 0 });
    const held = pool.decide("req", chainOf(56, 1), LONG);
    await pool.until("router_queue_pending_requests", 1);
    const decode = await MockReplica.join(pool.name, "d0", { roles: ["decode"] });
    expect(await held).toMatchObject({ type: "replica", replica: "d0", prefill: { replica: "p0" } });
    decode.settle("req");
    await pool.until("leases", 0);
  });
});

it("says whether what lies on lower tiers is loaded, and nothing where none is known to lie there", async () => {
  const pool = new TestPool("told-to-load");
  const replica = await MockReplica.join(pool.name, "r0");
  const [lower, device, other] = [chainOf(70, 4), chainOf(71, 4), chainOf(72, 4)];
  replica.hold(lower, 2);
  replica.hold(other, 4);
  replica.hold(device, 1);
  await pool.until("index_entries", 12);
  expect((await pool.place("lower", lower, LONG)).load).toBe(true);
  expect(await pool.place("device", device, LONG)).not.toHaveProperty("load");
  const busy = ["lower", "device", "slow"];
  await pool.place("slow");
  // Slower than computing by far, again and again.
  for (const round of [1, 2, 3]) {
    for (const id of busy) {
      replica.decoding(id, { promptTokens: 1_000, cachedTokens: 256, prefillMs: 10_100, loadMs: 10_000, loadedTokens: 256 });
      replica.settle(id);
    }
    await pool.until("leases", 0);
    busy.forEach((_id, at) => (busy[at] = `slow-${round}-${at}`));
    for (const id of busy) await pool.place(id);
  }
  for (const id of busy) replica.settle(id);
  await pool.until("leases", 0);
  expect((await pool.place("again", other, LONG)).load).toBe(false);
  replica.settle("again");
  await pool.until("leases", 0);
});

describe("a pull", () => {
  /** `warm` holds a chain of 16 segments and is full, `cold` is idle. */
  async function warmAndFull(name: string, tierBits: number, transfers: boolean) {
    const pool = new TestPool(name);
    const warm = await MockReplica.join(name, "warm", { transfers });
    const chain = chainOf(60, 16);
    warm.hold(chain, tierBits);
    await pool.until("index_entries", 16);
    const busy = ["w0", "w1", "w2"];
    for (const id of busy) await pool.place(id);
    const cold = await MockReplica.join(name, "cold", { transfers });
    const end = async (): Promise<void> => {
      for (const id of busy) warm.settle(id);
      cold.settle("req");
      await pool.until("leases", 0);
    };
    return { pool, warm, cold, chain, end };
  }

  it("comes from the replica that holds the prompt, and teaches the rate", async () => {
    const { pool, warm, cold, chain, end } = await warmAndFull("pulled", 2, true);
    const tokens = 16 * TOKENS_PER_SEGMENT;
    const placed = await pool.place("req", chain, LONG);
    expect(placed).toMatchObject({ replica: "cold", cachedTokens: tokens, pull: { replica: "warm", url: warm.url, tokens } });
    expect(await pool.metric("leases")).toBe(4);
    expect(decodeTicket(placed.pull?.ticket ?? "", warm.mac, same)).toMatchObject({
      ok: true,
      ticket: { id: "req", kind: "pull", from: warm.url },
    });
    // Slower than a prefill, by far: not again.
    const transfer = { kind: "pull", replica: "warm", outcome: "used", bytes: 9, ms: 99_000, tokens } as const;
    cold.decoding("req", { promptTokens: 1_064, cachedTokens: tokens, prefillMs: 99_040, transfer });
    await pool.until("transfers_used_total", 1);
    expect((await attempts(pool, "req"))[0]?.outcome).toMatchObject({ transfer, cachedTokens: tokens });
    expect((await pool.place("next", chain, LONG)).pull).toBeUndefined();
    cold.settle("next");
    await end();
  });

  it.each([
    ["what lies on disk only", 4, true],
    ["from replicas that did not say they transfer", 1, false],
  ])("is not asked for %s", async (what, tierBits, transfers) => {
    const { pool, chain, end } = await warmAndFull(`unpulled-${what.replaceAll(" ", "-")}`, tierBits, transfers);
    const placed = await pool.place("req", chain, LONG);
    expect([placed.replica, placed.pull]).toEqual(["cold", undefined]);
    await end();
  });
});
