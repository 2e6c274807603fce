import { expect, it } from "vitest";
import { decide } from "../../../src/decision/decide.ts";
import { PROFILES } from "../../../src/decision/profiles.ts";
import { type PicturedAttempt, timePicture } from "../../../workers/console/page/time-bars.ts";
import { candidate, RATES, request, viewOf } from "../decision/views.ts";

/** What `GET /v1/decisions/{id}` says of a decision among these. */
function attempt(candidates: Parameters<typeof viewOf>[0], outcome: PicturedAttempt["outcome"] = { ttftMs: null }): PicturedAttempt {
  const decision = decide(viewOf(candidates), request(1_000), PROFILES["cache-aware"], 0.5, 0);
  return { candidates: decision.candidates, decision, outcome };
}

it("the chosen candidate comes first, then the soonest, with the parts of its time", () => {
  const rates = { ...RATES, ttftStretch: 2, ttftExtraMs: 3 };
  const cold = candidate(0, { queuedPrefillMs: 4, rates });
  const warm = candidate(1, { cachedTokens: 900, rates });
  const { bars, left, wholeMs } = timePicture(attempt([cold, candidate(2, { rates }), warm]));
  expect(bars.map(({ name, isChosen }) => [name, isChosen])).toEqual([
    ["replica-1", true],
    ["replica-2", false],
    ["replica-0", false],
  ]);
  // 100 tokens of 0.05 ms, twice, and 3 ms; 1,000 tokens behind 4 ms of queue.
  expect(bars.map(({ ms }) => Math.round(ms))).toEqual([13, 103, 111]);
  expect(bars[2]?.parts.map(({ kind, size }) => [kind, Math.round(size)])).toEqual([
    ["waits", 8],
    ["computes", 100],
    ["other", 3],
  ]);
  expect(bars[0]?.words).toBe("replica-1 (chosen): 13 ms predicted; computes the prompt 10 ms, all else 3.0 ms");
  expect([left, Math.round(wholeMs)]).toEqual([0, 111]);
});

it("a candidate that could not be chosen says why", () => {
  const { bars } = timePicture(attempt([candidate(0), candidate(1, { eligible: false })]));
  expect(bars.find(({ name }) => name === "replica-1")?.words).toMatch(/^replica-1 \(not eligible\): /);
});

it("the measured time has room in the picture, and many candidates do not", () => {
  const { bars, left, measuredMs, wholeMs } = timePicture(
    attempt(
      Array.from({ length: 64 }, (_, slot) => candidate(slot)),
      { ttftMs: 9_000 },
    ),
  );
  expect([bars.length, left, measuredMs, wholeMs]).toEqual([8, 56, 9_000, 9_000]);
  expect(bars[0]?.isChosen).toBe(true);
});

it("with a transfer the chosen candidate's time is the one with it", () => {
  const [own, other] = [candidate(0), candidate(1, { cachedTokens: 900 })];
  const told = attempt([own, other]);
  const chosen = told.candidates.findIndex(({ name }) => name === "replica-0");
  const senders = { senderMs: 0, senderWorkMs: 0, senderNewTokens: 0, senderCachedTokens: 0 };
  const transfer = {
    kind: "pull" as const,
    replica: 1,
    name: "replica-1",
    tokens: 900,
    transferMs: 18,
    ...senders,
    insteadOfMs: 45,
    receiverMs: 23,
  };
  const { bars } = timePicture({ ...told, decision: { chosen, transfer } });
  expect([bars[0]?.name, Math.round(bars[0]?.ms ?? 0)]).toEqual(["replica-0", 23]);
  expect(bars[0]?.parts.map(({ kind, size }) => [kind, Math.round(size)])).toEqual([["computes", 23]]);
});
