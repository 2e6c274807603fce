import { describe, expect, it } from "vitest";
import { type EdgeAsk, EdgeView, type PossiblePool } from "../../../src/edge/edge-view.ts";
import { DEFAULT_SCHEDULE } from "../../../src/prefix/segment.ts";
import type { PoolCard } from "../../../src/router/card.ts";
import { hashes } from "../residency/hashes.ts";

const chain = { hashes: hashes(64, 1), ends: Uint32Array.from({ length: 64 }, (_, depth) => (depth + 1) * 256) };
const ask: EdgeAsk = { promptBytes: 64 * 256, conversation: 7n, draw: 0, goesOn: false, warms: true };

/** 1 ms a token, 4 bytes a token: the prompt's prefill takes 4,096 ms. */
function card(pool: string): PoolCard {
  const load = { queueMs: 0, inFlight: 0, waiting: 0, decisionsPerSecond: 0, fullShare: 0, prefillMsPerToken: 1, bytesPerToken: 4 };
  const hashSpec = { version: 1, schedule: DEFAULT_SCHEDULE, order: "system-then-tools" } as const;
  return { pool, model: "chat", createdAtSeconds: 0, hashSpec, replicas: 2, load };
}

function known(edge: EdgeView, pool: string): PossiblePool {
  const found = edge.card(pool);
  if (found === undefined) throw new Error(`no card of ${pool}`);
  return { known: found, region: pool, chain };
}

const bookedMs = (edge: EdgeView, pool: string): number | undefined => edge.card(pool)?.bookedMs;

describe("a booking", () => {
  it("is the prefill of what went to the pool, and ends once at its first token", () => {
    const edge = new EdgeView();
    edge.keepCard(card("p"), 0);
    const first = edge.choose([known(edge, "p")], ask, 10);
    expect(bookedMs(edge, "p")).toBe(4_096);
    // Its prompt was sent there just now, so that a second one like it has nothing to prefill.
    edge.choose([known(edge, "p")], ask, 20);
    expect(bookedMs(edge, "p")).toBe(4_096);
    first.prefilled("p", 500);
    first.prefilled(null, 600);
    expect(bookedMs(edge, "p")).toBe(0);
  });

  it("takes from a card that was made meanwhile only what that card still counted", () => {
    const edge = new EdgeView();
    edge.keepCard(card("p"), 0);
    const { prefilled } = edge.choose([known(edge, "p")], ask, 10);
    edge.keepCard(card("p"), 1_010);
    expect(bookedMs(edge, "p")).toBe(0);
    prefilled("p", 2_000);
    expect(bookedMs(edge, "p")).toBe(-(4_096 - 1_000));
  });

  it("is not made for a prompt that is only counted", () => {
    const edge = new EdgeView();
    edge.keepCard(card("p"), 0);
    edge.choose([known(edge, "p")], { ...ask, warms: false }, 10);
    expect(bookedMs(edge, "p")).toBe(0);
  });
});

describe("an edge's view", () => {
  it("keeps the newer of two cards", () => {
    const edge = new EdgeView();
    edge.keepCard(card("p"), 1_000);
    edge.keepCard({ ...card("p"), replicas: 9 }, 1_500, 600);
    expect(edge.card("p")?.card.replicas).toBe(2);
  });

  it("measures a way often at first, later every 5 s, and believes the least of the last four", () => {
    const edge = new EdgeView();
    expect(edge.roundTripMs("p")).toBeNull();
    for (const [at, rttMs] of [1, 40, 30, 20, 25].entries()) {
      expect(edge.beginMeasuring("p", at * 5_000)).toBe(true);
      edge.measured("p", rttMs, at * 5_000);
    }
    expect(edge.roundTripMs("p")).toBe(20);
    expect(edge.beginMeasuring("p", 4 * 5_000 + 4_999)).toBe(false);
    edge.measured("q", 5, 0);
    expect([edge.beginMeasuring("q", 499), edge.beginMeasuring("q", 500)]).toEqual([false, true]);
  });

  it("says once to a pool which of its replicas have answered", () => {
    const edge = new EdgeView();
    edge.noteAnswered("p", { replica: "r", epoch: 1 });
    edge.noteAnswered("p", { replica: "r", epoch: 2 });
    expect(edge.takeAnswered("p")).toEqual({ answered: [{ replica: "r", epoch: 2 }] });
    expect(edge.takeAnswered("p")).toEqual({});
  });

  it("shares nothing with another edge's", () => {
    const [one, other] = [new EdgeView(), new EdgeView()];
    one.keepCard(card("p"), 0);
    one.measured("p", 5, 0);
    expect([other.card("p"), other.roundTripMs("p")]).toEqual([undefined, null]);
  });
});
