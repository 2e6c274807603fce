import { describe, expect, it } from "vitest";
import { TransferDeadline } from "../../gpu-backend/transfer/transfer-deadline.ts";

const prefill = (tokens: number, msPerToken: number, measured = true) =>
  new TransferDeadline({ kind: "prefill", tokens, msPerToken, measured, nowMs: 0 });
const pull = (tokens: number, msPerToken: number, measured = true) =>
  new TransferDeadline({ kind: "pull", tokens, msPerToken, measured, nowMs: 0 });

/** When it gives up on a sender that gets `step` tokens done every `everyMs`, or null: all came. */
function play(deadline: TransferDeadline, tokens: number, step: number, everyMs: number): number | null {
  for (let done = step, atMs = everyMs; ; done += step, atMs += everyMs) {
    if (atMs > deadline.endMs) return deadline.endMs;
    deadline.progressed(Math.min(done, tokens), atMs);
    if (done >= tokens) return null;
  }
}

describe("a prefill elsewhere", () => {
  it("that shows nothing is given up after a few times what was predicted, not after a fixed time", () => {
    expect(prefill(500, 0.1).endMs).toBeCloseTo(2_150);
    expect(prefill(100_000, 1).endMs).toBeCloseTo(302_000);
  });

  it("that is long and goes on as predicted is waited for, however long", () => {
    expect(play(prefill(100_000, 1), 100_000, 512, 512)).toBeNull();
  });

  it("that goes on is waited for though it is far slower than guessed, when nothing was ever measured", () => {
    // 60 s of prefill where 1 s was guessed.
    expect(play(prefill(10_000, 0.1, false), 10_000, 256, 1_536)).toBeNull();
  });

  it("by an engine that nobody has measured may take 10 s until its first word of progress, and no longer", () => {
    // 20 ms a token, in steps of 512: a model of some size on a processor.
    expect(play(prefill(4_000, 0.1, false), 4_000, 512, 9_900)).toBeNull();
    expect(prefill(4_000, 0.1, false).endMs).toBe(10_000);
    expect(prefill(4_000, 0.1).endMs).toBeCloseTo(3_200);
  });

  it("that only claims to go on costs no more than a few times what computing here takes", () => {
    // A token every 2 s, of a prompt that takes 1 s here.
    expect(play(prefill(10_000, 0.1), 10_000, 1, 1_900)).toBeLessThanOrEqual(2_000 + 6 * 1_000);
    expect(play(prefill(10_000, 0.1, false), 10_000, 1, 1_900)).toBeLessThanOrEqual(120_000);
  });

  it("is not waited for longer because it says the same again", () => {
    const deadline = prefill(10_000, 0.1);
    deadline.progressed(100, 100);
    const { endMs } = deadline;
    for (let atMs = 200; atMs < 5_000; atMs += 100) deadline.progressed(100, atMs);
    expect(deadline.endMs).toBe(endMs);
  });
});

describe("a pull", () => {
  it("that brings nothing is given up when recomputing would be done", () => {
    expect(pull(3_000, 1).endMs).toBe(3_000);
    expect(pull(320, 0.1).endMs).toBe(500);
  });

  it("is waited for while the rest comes sooner than recomputing it", () => {
    expect(play(pull(3_200, 1), 3_200, 32, 30)).toBeNull();
    expect(play(pull(3_200, 1), 3_200, 32, 2_000)).toBeLessThanOrEqual(6_400);
  });
});
