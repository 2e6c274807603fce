import { describe, expect, it } from "vitest";
import { createSegmentIndex } from "../../../src/residency/typed-array-index.ts";
import { AnnounceIntake } from "../../../src/router/intake.ts";
import { PoolState } from "../../../src/router/state.ts";
import type { DecideRequest } from "../../../src/router/question.ts";
import { refusalOf, refused } from "../../../src/router/refusal.ts";

const WAITING = 200;

/** A pool of one replica, and a line that somebody enters as somebody leaves. */
function withLine(): { leave: (times: number, everyMs: number) => void; refusal: () => string | null } {
  const state = new PoolState(createSegmentIndex({}));
  const capacity = { sequences: 2, kvTokens: 100_000, blockTokens: 16, contextTokens: 8_192, queueLimit: 1 };
  const identity = { name: "r0", epoch: 1, url: "http://r0", roles: ["decode"] as const, model: "m", specFingerprint: "v1" };
  new AnnounceIntake(state).membership({ kind: "hello", hello: { ...identity, capacity }, connection: 1, admitted: true }, 0);
  let nowMs = 0;
  let entered = 0;
  const enter = (): void => void state.line.enter(`w${entered++}`, nowMs, nowMs);
  for (let n = 0; n < WAITING; n++) enter();
  return {
    leave: (times, everyMs) => {
      for (; times > 0; times--) {
        nowMs += everyMs;
        state.line.take(undefined, nowMs);
        enter();
      }
    },
    refusal: () => {
      const asked = {
        id: "late",
        tenant: "t",
        salt: "s",
        fingerprint: "v1",
        chain: new BigUint64Array(0),
        promptBytes: 40,
        bodyBytes: 40,
        path: "",
        digest: "",
      };
      const request: DecideRequest = { ...asked, arrivedAtMs: nowMs };
      return refusalOf(state, request, 10, nowMs)?.message ?? null;
    },
  };
}

describe("whoever would wait behind many", () => {
  it("is not refused for one pause of a line that moves", () => {
    const { leave, refusal } = withLine();
    leave(300, 20);
    expect(refusal()).toBeNull();
    leave(1, 10_000);
    expect(refusal()).toBeNull();
  });

  it("is refused once the line has moved slowly eight times, and not before", () => {
    const { leave, refusal } = withLine();
    leave(7, 5_000);
    expect(refusal()).toBeNull();
    leave(1, 5_000);
    expect(refusal()).toContain("it would wait longer than 90 s");
  });
});

describe("when to ask again", () => {
  it.each([
    [0, 1],
    [2_001, 3],
    [60_000, 60],
    [60_001, 60],
    [86_400_000, 60],
  ])("after %s ms of queued prefill is in %s s: from 1 s to 1 min", (drainMs, seconds) => {
    expect(refused({ waitMs: 0, paceMs: 0, drainMs }, "so").retryAfterSeconds).toBe(seconds);
  });
});
