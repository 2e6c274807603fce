import { describe, expect, it } from "vitest";
import { createSegmentIndex } from "../../../src/residency/typed-array-index.ts";
import { AnnounceIntake } from "../../../src/router/intake.ts";
import { PoolState } from "../../../src/router/state.ts";
import { loadedView } from "../../../src/router/view.ts";

const capacity = { sequences: 4, kvTokens: 100_000, blockTokens: 16, contextTokens: 8_192, queueLimit: 1 };

/** One replica for each machine named. */
function joined(machines: readonly (string | undefined)[]): PoolState {
  const state = new PoolState(createSegmentIndex({}));
  const intake = new AnnounceIntake(state);
  for (const [slot, machine] of machines.entries()) {
    const identity = { name: `r${slot}`, epoch: 1, url: `http://r${slot}`, model: "m", specFingerprint: "v1" };
    const hello = { ...identity, roles: ["prefill", "decode"] as const, capacity, machine };
    intake.membership({ kind: "hello", hello, connection: slot + 1, admitted: true }, 0);
    intake.reconcile(slot, [], 0);
    intake.needAfterHello(slot, 0, 0);
  }
  return state;
}

const reserve = (state: PoolState, id: string, replica: number, promptTokens: number): void =>
  void state.leases.reserve({ id, attempt: 1, replica, nowMs: 0, promptTokens, uncachedTokens: 400, predictedMs: 300, salt: "s" });

const beside = (state: PoolState): [number, number][] =>
  state.membership.replicas.map((replica) => {
    const { besideInFlight, besideContextTokens } = loadedView(state, replica, 0);
    return [besideInFlight, besideContextTokens];
  });

describe("a replica's view", () => {
  it("counts what runs beside it on its machine, and only there", () => {
    const state = joined(["here", "here", "there", undefined, undefined]);
    reserve(state, "a", 0, 1_000);
    reserve(state, "b", 0, 500);
    reserve(state, "c", 1, 70);
    reserve(state, "d", 2, 9_000);
    reserve(state, "e", 3, 9_000);
    expect(beside(state)).toEqual([
      [1, 70],
      [2, 1_500],
      [0, 0],
      [0, 0],
      [0, 0],
    ]);
    state.leases.decoding({ id: "b", attempt: 1 }, 30, 10);
    expect(beside(state)[1]).toEqual([2, 1_530]);
  });
});
