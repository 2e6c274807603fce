/** Engines that learn only at the end how long a prompt was and what of it was cached: client and pool are given those figures. */
import { expect, test } from "vitest";
import { answerSteps } from "../../gpu-backend/answer.ts";
import type { ChoiceEvent } from "../../gpu-backend/choices.ts";
import type { EngineEvent } from "../../gpu-backend/engine/engine.ts";
import { LeaseReporter } from "../../gpu-backend/lease-reporter.ts";
import type { LeaseReport } from "../../src/wire/lease-frame.ts";
import { parseChatRequest } from "../../src/wire/openai.ts";

const EVENTS: readonly EngineEvent[] = [
  { type: "queued", promptTokens: 100, blocks: null },
  { type: "started", cachedTokens: 0, restoreMs: 0 },
  { type: "delta", text: "x", tokens: 1, logprobs: null },
  {
    type: "finished",
    reason: "stop",
    promptTokens: 104,
    cachedTokens: 64,
    outputTokens: 1,
    prefillMs: 1,
    decodeMs: 1,
    stopText: null,
  },
];
const STEPS: readonly ChoiceEvent[] = EVENTS.map((event) => ({ choice: 0, event }));

test("a replica reports the cached tokens to the pool at the end", () => {
  const reports: LeaseReport[] = [];
  const reporter = new LeaseReporter({ id: "r", attempt: 0, choices: 1, supplied: () => null }, (report) => reports.push(report));
  for (const step of STEPS) reporter.see(step);
  reporter.end();
  expect(reports.map(({ event }) => event)).toEqual(["started", "decoding", "settled"]);
  expect(reports.at(-1)).toMatchObject({ cachedTokens: 64 });
});

test("a client's usage has the prompt and the cached tokens of the end", async () => {
  const read = parseChatRequest({ model: "m", messages: [{ role: "user", content: "x" }] });
  if (!read.ok) throw new Error(read.error.message);
  const events = (async function* () {
    yield* STEPS;
  })();
  const steps = [];
  for await (const step of answerSteps(read.request, { id: "r", model: "m", createdS: 1 } as never, { events, prompt: "x" }))
    steps.push(step);
  expect(steps.at(-1)).toMatchObject({ type: "usage", usage: { promptTokens: 104, cachedTokens: 64 } });
});
