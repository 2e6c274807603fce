/** One pool as its shell holds it: what it asks of the shell, and what it says has happened. */
import { describe, expect, it } from "vitest";
import { CACHE_AWARE } from "../../../src/decision/profiles.ts";
import { type DecideAnswer, type DecideRequest, Pool, type PoolEffect, type PoolEvent } from "../../../src/router/pool.ts";
import { createSegmentIndex } from "../../../src/residency/typed-array-index.ts";

const EPOCH = 1_000;
const CAPACITY = { sequences: 1, kvTokens: 100_000, blockTokens: 16, contextTokens: 32_768, queueLimit: 0 };

function greet(pool: Pool, name: string, more: { epoch?: number; model?: string; admitted?: boolean } = {}, nowMs = 0): PoolEffect[] {
  const { epoch = EPOCH, model = "m", admitted = true } = more;
  const roles = ["prefill", "decode"] as const;
  const hello = { name, epoch, url: `https://${name}.invalid`, roles, model, specFingerprint: "v1", capacity: CAPACITY };
  return pool.hello({ hello, connection: 1, admitted, running: [], seq: 3 }, nowMs);
}

function made(): { pool: Pool; events: PoolEvent[] } {
  const index = createSegmentIndex({});
  const pool = new Pool({ index, profile: CACHE_AWARE, random: () => 0, mint: () => "admission", mintTicket: () => "ticket" });
  const events: PoolEvent[] = [];
  pool.subscribe((event) => events.push(event));
  return { pool, events };
}

const request = (id: string): DecideRequest => ({
  id,
  tenant: "t",
  salt: "s",
  fingerprint: "v1",
  chain: new BigUint64Array(),
  promptBytes: 400,
  path: "/v1/chat/completions",
  bodyBytes: 400,
  digest: "",
  arrivedAtMs: 0,
});

const said: DecideAnswer[] = [];
const never = (answer: DecideAnswer): void => void said.push(answer);
const answers = (effects: readonly PoolEffect[]): string[] =>
  effects.flatMap((effect) => (effect.kind === "answer" ? [effect.answer.type] : []));
const kinds = (all: readonly { kind: string }[]): string[] => all.map(({ kind }) => kind);
const USAGE = { promptTokens: 100, cachedTokens: 40, outputTokens: 5 };

describe("a pool with one request running and one in line", () => {
  function full(): { pool: Pool; events: PoolEvent[] } {
    const { pool, events } = made();
    greet(pool, "r0");
    expect(pool.decide(request("first"), 1, never).answer).toMatchObject({ type: "replica", attempt: 1 });
    expect(pool.decide(request("second"), 2, never)).toEqual({ answer: null, effects: [] });
    expect(pool.waiting).toBe(1);
    return { pool, events };
  }
  const first = { id: "first", attempt: 1 };
  const slot = 0;
  const makesRoom: [what: string, does: (pool: Pool) => PoolEffect[]][] = [
    ["the first settles", (pool) => pool.leaseReports(slot, [{ event: "settled", ...first, ...USAGE }], 10)],
    ["its replica refuses the first", (pool) => pool.leaseReports(slot, [{ event: "refused", ...first }], 10)],
    ["the edge gives the first's lease back", (pool) => pool.release(first, 10)],
    ["the first's caller leaves", (pool) => pool.leave("first", 10)],
    ["another replica joins", (pool) => greet(pool, "r1", {}, 10)],
    ["the first's replica begins a new life", (pool) => greet(pool, "r0", { epoch: EPOCH + 1 }, 10)],
  ];
  it.each(makesRoom)("answers the one in line by itself when %s, and calls nobody", (_what, does) => {
    const { pool } = full();
    said.length = 0;
    const effects = does(pool);
    expect([answers(effects), pool.waiting, said]).toEqual([["replica"], 0, []]);
    expect(effects.findLast(({ kind }) => kind === "answer")).toMatchObject({ to: never });
  });

  it("says that the lease is to be cancelled where it is given back", () => {
    expect(full().pool.release(first, 10)).toContainEqual({ kind: "cancel", slot, key: first });
  });

  it("sends subscribers each event in order, and its counters and its log have it", () => {
    const { pool, events } = full();
    pool.leaseReports(slot, [{ event: "settled", ...first, ...USAGE }], 10);
    expect(kinds(events)).toEqual(["joined", "resync", "placed", "waiting", "settled", "placed"]);
    expect(pool.state.counters).toMatchObject({
      decisions: 2,
      waited: 1,
      settled: 1,
      promptTokens: 100,
      reportedCachedTokens: 40,
      resyncs: 1,
    });
    expect(pool.state.ring.get("first")?.outcome).toMatchObject({ ended: "settled", outputTokens: 5 });
  });

  it("says nothing to one who has ended the subscription", () => {
    const { pool } = full();
    const heard: PoolEvent[] = [];
    pool.subscribe((event) => heard.push(event))();
    pool.release(first, 10);
    expect(heard).toEqual([]);
  });
});

describe("a hello", () => {
  it("is welcomed before anything else is asked of its replica", () => {
    expect(kinds(greet(made().pool, "r0"))).toEqual(["welcome", "resync"]);
  });

  it("is refused with a code, and nothing else follows", () => {
    const { pool } = made();
    greet(pool, "r0");
    const effects = greet(pool, "r1", { model: "other" });
    expect(effects).toEqual([expect.objectContaining({ kind: "refuse", code: "model" })]);
  });

  it("has its way back tried after the first heartbeat, and the replica gets a frame that it is reached", () => {
    const { pool } = made();
    greet(pool, "r0", { admitted: false });
    const asked = pool.heartbeat(0, EPOCH, { seq: 0, entries: 0, load: { usedKvTokens: 0 }, running: [] }, 10);
    const [tried] = asked.filter((effect) => effect.kind === "tryWay");
    if (tried === undefined) throw new Error("no way is tried");
    expect(pool.wayTried(tried.way, { reached: true }, 20)).toEqual([{ kind: "reached", slot: 0 }]);
  });
});

it("a replica that stays silent is forgotten, and subscribers hear of both steps", () => {
  const { pool, events } = made();
  greet(pool, "r0");
  pool.parted(0, 1, 1_000);
  const effects = pool.tick(60_000);
  expect(effects).toEqual([expect.objectContaining({ kind: "forget", replica: expect.objectContaining({ name: "r0" }) })]);
  expect(kinds(events).slice(-2)).toEqual(["suspect", "lost"]);
});
