import { expect, test } from "vitest";
import { PrefillPace } from "../../gpu-backend/prefill-pace.ts";
import { TransferDeadline } from "../../gpu-backend/transfer/transfer-deadline.ts";

/** How long a receiver waits for a sender that only lives. */
const heldMs = (pace: PrefillPace, tokens: number): number =>
  new TransferDeadline({ kind: "prefill", tokens, ...pace.expectation, nowMs: 0 }).endMs;

test("what was computed here is expected, and what was computed elsewhere, up to twice that", () => {
  const pace = new PrefillPace(32);
  expect(pace.expectation).toEqual({ msPerToken: 0.1, measured: false });
  pace.learnElsewhere({ askedTokens: 1_000, computedTokens: 1_000 }, 3_000);
  expect(pace.expectation).toEqual({ msPerToken: 3, measured: false });
  pace.learnHere(1_000, 2_000);
  expect(pace.expectation).toEqual({ msPerToken: 3, measured: true });
  for (let n = 0; n < 40; n++) pace.learnHere(1_000, 1_000);
  expect(pace.expectation.msPerToken).toBeCloseTo(2, 2);
  expect(pace.msPerToken).toBeCloseTo(1, 2);
});

test("a sender that says that nearly all was cached, or is ever slower, makes nobody wait for hours", () => {
  const [lied, slowed] = [new PrefillPace(32), new PrefillPace(32)];
  lied.learnHere(1_000, 400);
  slowed.learnHere(1_000, 400);
  lied.learnElsewhere({ askedTokens: 10_000, computedTokens: 32 }, 4_000);
  // As slow as it may be each time.
  for (let n = 0; n < 50; n++) slowed.learnElsewhere({ askedTokens: 10_000, computedTokens: 5_000 }, 2_000 + 6 * heldMs(slowed, 10_000));
  expect(heldMs(lied, 10_000)).toBeCloseTo(2_000 + 3 * 4_000);
  expect(heldMs(slowed, 10_000)).toBeCloseTo(2_000 + 3 * 8_000);
});

test("nor where nothing was ever computed here", () => {
  const pace = new PrefillPace(32);
  for (let n = 0; n < 50; n++) pace.learnElsewhere({ askedTokens: 10_000, computedTokens: 5_000 }, 2_000 + 6 * heldMs(pace, 10_000));
  expect(heldMs(pace, 10_000)).toBe(120_000);
  expect(new TransferDeadline({ kind: "pull", tokens: 10_000, ...pace.expectation, nowMs: 0 }).endMs).toBeLessThanOrEqual(120_000);
});
