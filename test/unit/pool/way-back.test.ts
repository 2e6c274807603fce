import { describe, expect, it } from "vitest";
import type { Replica } from "../../../src/pool/replica.ts";
import { CHECK_MS, MOST_TRIES_AT_ONCE, RETRY_MS, TRY_MS, WaysBack, type WayOutcome } from "../../../src/pool/way-back.ts";

const capacity = { sequences: 4, kvTokens: 8_192, blockTokens: 16, contextTokens: 4_096, queueLimit: 4 };
const seen = { joinedAtMs: 0, lastHeardMs: 0, closedAtMs: null, draining: false, seq: 0 };
const LOST: WayOutcome = { reached: false, why: "no connection" };
const TICK_MS = 250;

function replicaOf(name = "a", more: Partial<Replica> = {}): Replica {
  const identity = { slot: 0, name, epoch: 1, url: `http://${name}`, roles: ["decode"] as const, capacity };
  return { ...identity, state: "joining", connection: 1, admitted: false, ...seen, ...more };
}

/** A replica whose way back answers as `outcome` says, a failure after `tookMs`; the pool ticks every 250 ms. */
function play(outcome: (nowMs: number) => WayOutcome, { untilMs, tookMs = 0, change }: Play) {
  const ways = new WaysBack();
  let replica = replicaOf();
  const tries: number[] = [];
  const events: [number, string][] = [];
  ways.heard(replica);
  for (let nowMs = 0; nowMs <= untilMs; nowMs += TICK_MS) {
    replica = change?.(replica, nowMs) ?? replica;
    ways.heard(replica);
    for (const due of ways.due([replica], nowMs)) {
      tries.push(nowMs);
      const result = outcome(nowMs);
      const endMs = nowMs + (result.reached ? 0 : tookMs);
      const event = ways.tried(due, result, replica, endMs);
      if (event === null) continue;
      events.push([endMs, event.kind]);
      replica = { ...replica, admitted: event.kind === "admitted", state: event.kind === "admitted" ? "ready" : "joining" };
    }
  }
  return { tries, events, replica };
}

interface Play {
  untilMs: number;
  tookMs?: number;
  change?: (replica: Replica, nowMs: number) => Replica | undefined;
}

describe("a replica that never answers at its URL", () => {
  it("is never admitted, and is tried once in 10 s at most", () => {
    const { tries, events } = play(() => LOST, { untilMs: 60_000 });
    expect(tries).toEqual([0, 10_000, 20_000, 30_000, 40_000, 50_000, 60_000]);
    expect(new Set(events.map(([, kind]) => kind))).toEqual(new Set(["unreached"]));
  });

  it("is tried no oftener for new epochs, URLs and sockets", () => {
    const change = (replica: Replica, nowMs: number): Replica => ({
      ...replica,
      epoch: nowMs + 1,
      url: `http://victim-${nowMs}`,
      connection: nowMs,
      admitted: false,
      state: "joining",
    });
    expect(play(() => LOST, { untilMs: 40_000, change }).tries).toEqual([0, 10_000, 20_000, 30_000, 40_000]);
  });

  it("and leaves before the try has ended, is tried no oftener either", () => {
    const ways = new WaysBack();
    const tries: number[] = [];
    for (let nowMs = 0; nowMs <= 20_000; nowMs += TICK_MS) {
      const replica = replicaOf("a", { epoch: nowMs + 1, connection: nowMs });
      ways.heard(replica);
      for (const due of ways.due([replica], nowMs)) {
        tries.push(nowMs);
        expect(ways.tried(due, LOST, nowMs % 500 === 0 ? undefined : { ...replica, connection: null, state: "suspect" }, nowMs)).toBeNull();
        ways.due([], nowMs);
      }
    }
    expect(tries).toEqual([0, 10_000, 20_000]);
  });
});

describe("an open way", () => {
  it("is tried every 4 s; one failure is not believed", () => {
    const { tries, events } = play((nowMs) => (nowMs === CHECK_MS ? LOST : { reached: true }), { untilMs: 13_000 });
    expect(tries).toEqual([0, 4_000, 5_000, 9_000, 13_000]);
    expect(events.map(([, kind]) => kind)).toEqual(["admitted", "admitted", "admitted", "admitted"]);
  });

  it.each([0, TRY_MS])("that breaks at any moment is closed within 10 s, where a failure takes %d ms", (tookMs) => {
    for (let breaksAtMs = TICK_MS; breaksAtMs <= 2 * CHECK_MS; breaksAtMs += TICK_MS) {
      const open = play((nowMs) => (nowMs >= breaksAtMs ? LOST : { reached: true }), { untilMs: 60_000, tookMs });
      const [closedAtMs] = open.events.find(([, kind]) => kind === "unreached") ?? [Infinity];
      expect(closedAtMs - breaksAtMs).toBeLessThan(10_000);
      const later = open.tries.filter((tryMs) => tryMs >= closedAtMs);
      for (const [n, tryMs] of later.entries()) if (n > 0) expect(tryMs - (later[n - 1] ?? 0)).toBeGreaterThanOrEqual(RETRY_MS);
    }
  });

  it("of a process that is killed holds its next life back by nothing", () => {
    const ways = new WaysBack();
    const open = replicaOf("a", { admitted: true, state: "ready" });
    ways.heard(open);
    const [due] = ways.due([open], 0);
    if (due === undefined) throw new Error("It is not tried.");
    expect(ways.tried(due, LOST, { ...open, connection: null, state: "suspect" }, 10)).toBeNull();
    const next = replicaOf("a", { epoch: 2, url: "http://a:2", connection: 2 });
    expect(ways.due([next], 500)).toEqual([]);
    ways.heard(next);
    expect(ways.due([next], 500)).toMatchObject([{ epoch: 2, url: "http://a:2" }]);
  });

  it("is tried at once for a new life over the same socket, when its key is there", () => {
    const ways = new WaysBack();
    const open = replicaOf("a", { admitted: true, state: "ready" });
    ways.heard(open);
    for (const due of ways.due([open], 0)) ways.tried(due, { reached: true }, open, 0);
    const next = replicaOf("a", { epoch: 2 });
    expect(ways.due([next], 100)).toEqual([]);
    ways.heard(next);
    expect(ways.due([next], 100)).toMatchObject([{ epoch: 2 }]);
  });

  it("is not tried while its replica is silent, gone or leaving", () => {
    for (const more of [{ state: "suspect" }, { connection: null }, { state: "draining" }] as const) {
      const ways = new WaysBack();
      const replica = replicaOf("a", more);
      ways.heard(replica);
      expect(ways.due([replica], 0)).toEqual([]);
    }
  });
});

it("tries six at once at most, and whoever waits gets a turn", () => {
  const ways = new WaysBack();
  const replicas = Array.from({ length: 64 }, (_, slot) => replicaOf(`r${slot}`, { slot, connection: slot }));
  for (const replica of replicas) ways.heard(replica);
  const tried = new Set<string>();
  for (let nowMs = 0; tried.size < 64 && nowMs < 60_000; nowMs += TICK_MS) {
    const due = ways.due(replicas, nowMs);
    expect(due.length).toBeLessThanOrEqual(MOST_TRIES_AT_ONCE);
    expect(ways.due(replicas, nowMs)).toEqual([]);
    for (const made of due) {
      tried.add(made.name);
      ways.tried(made, LOST, replicas[made.slot], nowMs);
    }
  }
  expect(tried.size).toBe(64);
});
