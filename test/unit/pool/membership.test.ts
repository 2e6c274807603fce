import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  applyMembership,
  emptyMembership,
  isReady,
  restoreMembership,
  type MembershipEffect,
  type MembershipEvent,
  type MembershipState,
} from "../../../src/pool/membership.ts";
import type { ReplicaHello } from "../../../src/pool/replica.ts";

const capacity = { sequences: 4, kvTokens: 8_192, blockTokens: 16, contextTokens: 4_096, queueLimit: 4 };

function hello(name: string, epoch = 1, extra: Partial<ReplicaHello> = {}): ReplicaHello {
  return { name, epoch, url: `http://${name}`, roles: ["prefill", "decode"], model: "m", specFingerprint: "s", capacity, ...extra };
}

/** A pool that remembers its state and the kinds of effects. */
function pool(state: MembershipState = emptyMembership()) {
  let now = 0;
  return {
    get state() {
      return state;
    },
    at(nowMs: number) {
      now = nowMs;
      return this;
    },
    apply(event: MembershipEvent): MembershipEffect[] {
      const step = applyMembership(state, event, now);
      state = step.state;
      return step.effects;
    },
    join(name: string, epoch = 1, connection = 1, extra: Partial<ReplicaHello> = {}) {
      return this.apply({ kind: "hello", hello: hello(name, epoch, extra), connection, admitted: true });
    },
    stateOf(name: string) {
      return state.replicas.find((replica) => replica.name === name)?.state;
    },
  };
}

const kinds = (effects: MembershipEffect[]): string[] => effects.map((effect) => effect.kind);
const reasons = (effects: MembershipEffect[]): string => effects.map((effect) => ("reason" in effect ? effect.reason : "")).join();

describe("joining", () => {
  it("is ready at once when its URL is admitted, else after the proof", () => {
    const here = pool();
    expect(kinds(here.join("a"))).toEqual(["adopted", "joined"]);
    expect(here.stateOf("a")).toBe("ready");
    here.apply({ kind: "hello", hello: hello("b"), connection: 2, admitted: false });
    expect(here.stateOf("b")).toBe("joining");
    expect(here.apply({ kind: "admitted", slot: 1, epoch: 0 })).toEqual([]);
    expect(kinds(here.apply({ kind: "admitted", slot: 1, epoch: 1 }))).toEqual(["becameReady"]);
    expect(here.state.replicas.filter(isReady).map((replica) => replica.slot)).toEqual([0, 1]);
  });

  it("takes 64 and says to the 65th that the pool is full; a freed slot is used again", () => {
    const here = pool();
    for (let n = 0; n < 64; n++) here.join(`r${n}`, 1, n);
    const refused = here.join("r64", 1, 64);
    expect(refused).toMatchObject([{ kind: "refused", code: "pool_full" }]);
    expect(reasons(refused)).toContain("64 replicas");
    here.apply({ kind: "socketClosed", slot: 7, connection: 7 });
    for (const replica of here.state.replicas)
      if (replica.slot !== 7) here.at(3_000).apply({ kind: "heard", slot: replica.slot, epoch: 1 });
    expect(kinds(here.apply({ kind: "tick" }))).toEqual(["expired"]);
    here.join("r64", 1, 64);
    expect(here.state.replicas[7]).toMatchObject({ name: "r64", slot: 7 });
  });

  it("the newest epoch of a name wins, an older one is refused, the same one reconnects", () => {
    const here = pool();
    here.join("a", 5, 1);
    expect(here.join("a", 4, 2)).toMatchObject([{ kind: "refused", code: "older_epoch" }]);
    here.apply({ kind: "heard", slot: 0, epoch: 5, seq: 17 });
    expect(here.join("a", 5, 3)).toMatchObject([{ kind: "reconnected", oldConnection: 1, replica: { seq: 17, slot: 0 } }]);
    expect(here.apply({ kind: "socketClosed", slot: 0, connection: 1 })).toEqual([]);
    expect(here.stateOf("a")).toBe("ready");
    expect(kinds(here.join("a", 6, 4))).toEqual(["replaced", "joined"]);
    expect(here.state.replicas).toMatchObject([{ epoch: 6, seq: 0, slot: 0 }]);
    expect(here.apply({ kind: "heard", slot: 0, epoch: 5, seq: 99 })).toEqual([]);
    expect(here.state.replicas[0]?.seq).toBe(0);
  });

  it("a reconnect with another URL has to prove it anew", () => {
    const here = pool();
    here.join("a");
    here.apply({ kind: "hello", hello: hello("a", 1, { url: "http://elsewhere" }), connection: 2, admitted: false });
    expect(here.stateOf("a")).toBe("joining");
  });

  it("refuses another model or hash spec while a replica is connected, adopts it when none is", () => {
    const here = pool();
    here.join("a", 1, 1);
    expect(reasons(here.join("b", 1, 2, { model: "other" }))).toContain("serves m, this replica serves other");
    expect(reasons(here.join("b", 1, 2, { specFingerprint: "t" }))).toContain("hash spec");
    here.apply({ kind: "socketClosed", slot: 0, connection: 1 });
    expect(kinds(here.join("b", 1, 2, { model: "other" }))).toEqual(["expired", "adopted", "joined"]);
    expect(here.state).toMatchObject({ model: "other", replicas: [{ name: "b" }] });
    expect(kinds(here.join("b", 2, 3, { model: "third" }))).toEqual(["adopted", "replaced", "joined"]);
  });
});

describe("silence", () => {
  it("3 s: suspect; heard again: recovered; 10 s: expired", () => {
    const here = pool();
    here.join("a");
    expect(here.at(2_999).apply({ kind: "tick" })).toEqual([]);
    expect(kinds(here.at(3_000).apply({ kind: "tick" }))).toEqual(["becameSuspect"]);
    expect(here.at(3_500).apply({ kind: "tick" })).toEqual([]);
    expect(kinds(here.at(4_000).apply({ kind: "heard", slot: 0, epoch: 1 }))).toEqual(["recovered"]);
    here.at(7_000).apply({ kind: "tick" });
    expect(here.stateOf("a")).toBe("suspect");
    expect(kinds(here.at(14_000).apply({ kind: "tick" }))).toEqual(["expired"]);
    expect(here.state.replicas).toEqual([]);
  });

  it("a closed socket: suspect at once, forgotten after 3 s", () => {
    const here = pool();
    here.join("a");
    expect(kinds(here.at(100).apply({ kind: "socketClosed", slot: 0, connection: 1 }))).toEqual(["becameSuspect"]);
    expect(here.at(3_099).apply({ kind: "tick" })).toEqual([]);
    expect(here.at(3_100).apply({ kind: "tick" })).toMatchObject([{ kind: "expired", replica: { state: "lost", slot: 0 } }]);
  });

  it("draining survives being suspect", () => {
    const here = pool();
    here.join("a");
    expect(kinds(here.apply({ kind: "drain", slot: 0, epoch: 1 }))).toEqual(["draining"]);
    expect(here.apply({ kind: "drain", slot: 0, epoch: 1 })).toEqual([]);
    here.at(3_000).apply({ kind: "tick" });
    here.at(3_100).apply({ kind: "heard", slot: 0, epoch: 1 });
    expect(here.stateOf("a")).toBe("draining");
  });

  it("after a restart keeps slots: suspect until the hello, forgotten without", () => {
    const before = pool();
    before.join("a", 1, 1);
    before.join("b", 1, 2);
    const here = pool(restoreMembership(JSON.parse(JSON.stringify(before.state)) as MembershipState, 50_000));
    expect(here.at(50_000).apply({ kind: "tick" })).toEqual([]);
    expect(here.join("b", 1, 9)).toMatchObject([{ kind: "reconnected", oldConnection: null, replica: { slot: 1, state: "ready" } }]);
    expect(here.at(53_000).apply({ kind: "tick" })).toMatchObject([
      { kind: "expired", replica: { name: "a" } },
      { kind: "becameSuspect", replica: { name: "b" } },
    ]);
  });
});

describe("whatever comes", () => {
  const name = fc.constantFrom("a", "b", "c");
  const small = fc.integer({ min: 0, max: 3 });
  const event: fc.Arbitrary<MembershipEvent> = fc.oneof(
    fc
      .record({ name, epoch: small, model: fc.constantFrom("m", "m", "n"), connection: small, admitted: fc.boolean() })
      .map(({ name: who, epoch, model, ...rest }) => ({ kind: "hello" as const, hello: hello(who, epoch, { model }), ...rest })),
    fc.record({ kind: fc.constantFrom("admitted" as const, "heard" as const, "drain" as const), slot: small, epoch: small }),
    fc.record({ kind: fc.constant("socketClosed" as const), slot: small, connection: small }),
    fc.constant({ kind: "tick" as const }),
  );

  it("names and slots are never held twice, the ready are connected and admitted, the dead leave in time", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(event, fc.integer({ min: 0, max: 4_000 })), { maxLength: 60 }), (events) => {
        const here = pool();
        let now = 0;
        for (const [next, waitMs] of events) {
          now += waitMs;
          here.at(now).apply({ kind: "tick" });
          here.apply(next);
          const { replicas } = here.state;
          expect(new Set(replicas.map((replica) => replica.name)).size).toBe(replicas.length);
          const slots = replicas.map((replica) => replica.slot);
          expect(slots).toEqual([...new Set(slots)].toSorted((a, b) => a - b));
          for (const replica of replicas) {
            if (replica.state === "ready") expect(replica).toMatchObject({ admitted: true, draining: false, closedAtMs: null });
            if (replica.connection === null) expect(replica.state).toBe("suspect");
            expect(now - replica.lastHeardMs).toBeLessThan(10_000);
          }
        }
      }),
      { seed: 11, numRuns: 300 },
    );
  });
});
