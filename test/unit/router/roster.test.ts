import { describe, expect, it } from "vitest";
import { createSegmentIndex } from "../../../src/residency/typed-array-index.ts";
import { AnnounceIntake } from "../../../src/router/intake.ts";
import { rosterOf } from "../../../src/router/roster.ts";
import { PoolState } from "../../../src/router/state.ts";

const capacity = { sequences: 2, kvTokens: 1_000, blockTokens: 16, contextTokens: 1_000, queueLimit: 1 };
const same = { roles: ["decode"] as const, model: "m", specFingerprint: "v1", capacity };
const helloOf = (name: string, epoch: number) => ({ name, epoch, url: `http://${name}`, ...same });
const tiers = [
  { tier: "device", usedTokens: 320, roomTokens: 1_000 },
  { tier: "host", usedTokens: 640, roomTokens: 4_000 },
] as const;

describe("the roster of a pool", () => {
  it("is empty before a replica has joined", () => {
    expect(rosterOf(new PoolState(createSegmentIndex({})), 0)).toEqual({ model: null, waiting: 0, replicas: [] });
  });

  it("has each replica with what it does, and its tiers as its last heartbeat of this epoch reported them", () => {
    const state = new PoolState(createSegmentIndex({}));
    const intake = new AnnounceIntake(state);
    intake.membership({ kind: "hello", hello: helloOf("a", 1), connection: 1, admitted: true }, 0);
    intake.membership({ kind: "hello", hello: helloOf("b", 1), connection: 2, admitted: false }, 0);
    const a = { name: "a", state: "ready", leftOut: false, roles: ["decode"], inFlight: 0, sequences: 2, queueLimit: 1, queuedMs: 0 };
    expect(rosterOf(state, 0)).toEqual({
      model: "m",
      waiting: 0,
      replicas: [
        { ...a, tiers: [], residency: null },
        { ...a, name: "b", state: "joining", tiers: [], residency: null },
      ],
    });
    const residency = { state: "degraded", why: "its KV events do not come" } as const;
    intake.heartbeat(0, 1, { seq: 0, entries: 0, load: { usedKvTokens: 0, tiers, residency }, running: [] }, 100);
    expect(rosterOf(state, 100).replicas.map((replica) => replica.tiers)).toEqual([tiers, []]);
    expect(rosterOf(state, 100).replicas.map((replica) => replica.residency)).toEqual([residency, null]);
    // Of the life before, and late: the new life's engine is empty.
    intake.membership({ kind: "hello", hello: helloOf("a", 2), connection: 3, admitted: true }, 200);
    expect(rosterOf(state, 200).replicas[0]).toMatchObject({ tiers: [], residency: null });
    intake.heartbeat(0, 1, { seq: 0, entries: 0, load: { usedKvTokens: 0, tiers }, running: [] }, 300);
    expect(rosterOf(state, 300).replicas[0]?.tiers).toEqual([]);
  });

  it("counts a replica's leases and the prefill that they wait for", () => {
    const state = new PoolState(createSegmentIndex({}));
    const intake = new AnnounceIntake(state);
    intake.membership({ kind: "hello", hello: helloOf("a", 1), connection: 1, admitted: true }, 0);
    const key = { id: "one", attempt: 1 };
    state.leases.reserve({ ...key, replica: 0, nowMs: 0, promptTokens: 100, uncachedTokens: 60, predictedMs: 12, salt: "s" });
    expect(rosterOf(state, 0).replicas[0]).toMatchObject({ inFlight: 1, queuedMs: 12 });
    state.leases.release(key, 1);
    expect(rosterOf(state, 1).replicas[0]).toMatchObject({ inFlight: 0, queuedMs: 0 });
  });
});
