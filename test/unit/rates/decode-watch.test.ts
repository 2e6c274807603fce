import type { RunningRequest } from "../../../src/pool/frames.ts";
import { describe, expect, it } from "vitest";
import type { LoadReading } from "../../../src/pool/load.ts";
import { DecodeWatch } from "../../../src/rates/decode-watch.ts";

const SLOT = 3;

/** Two sequences of 500 tokens each, all the time, and `prefilledMs` of prefills so far. */
const reading = (atMs: number, prefilledMs = 0): LoadReading => ({ atMs, sequenceMs: 2 * atMs, contextMs: 1_000 * atMs, prefilledMs });
const running = (...outputs: number[]): RunningRequest[] => outputs.map((outputTokens, at) => ({ id: `r${at}`, attempt: 1, outputTokens }));

describe("running decodes", () => {
  it("show their pace from one heartbeat to the next, as the median of those that ran all the time", () => {
    const watch = new DecodeWatch();
    expect(watch.heard(SLOT, running(10, 0, 40), reading(1_000))).toBeNull();
    // The second has begun meanwhile; the fourth is new.
    expect(watch.heard(SLOT, running(30, 5, 61, 2), reading(2_000, 100))).toEqual({
      outputTokens: 21,
      decodeMs: 1_000,
      sequences: 2,
      contextTokens: 1_000,
      prefilledMs: 100,
    });
    expect(watch.heard(SLOT, running(50, 25, 81, 22), reading(3_000, 100))).toMatchObject({ outputTokens: 21, prefilledMs: 0 });
  });

  it("say nothing where one has ended with a report of its own, and nothing of a replica that was forgotten", () => {
    const watch = new DecodeWatch();
    watch.heard(SLOT, running(10), reading(1_000));
    watch.ended(SLOT);
    expect(watch.heard(SLOT, running(30), reading(2_000))).toBeNull();
    expect(watch.heard(SLOT, running(50), reading(3_000))).not.toBeNull();
    watch.forget(SLOT);
    expect(watch.heard(SLOT, running(70), reading(4_000))).toBeNull();
    expect(watch.heard(SLOT + 1, running(70), reading(4_000))).toBeNull();
    watch.ended(SLOT + 2);
  });

  it("say nothing when none ran at both heartbeats, or no time passed", () => {
    const watch = new DecodeWatch();
    watch.heard(SLOT, running(10), reading(1_000));
    expect(watch.heard(SLOT, running(20), reading(1_000))).toBeNull();
    expect(watch.heard(SLOT, [{ id: "other", attempt: 1, outputTokens: 9 }], reading(2_000))).toBeNull();
    expect(watch.heard(SLOT, [], reading(3_000))).toBeNull();
  });
});
