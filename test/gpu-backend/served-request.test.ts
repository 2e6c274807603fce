import { expect, it } from "vitest";
import type { ChoiceEvent } from "../../gpu-backend/choices.ts";
import { RequestWatch } from "../../gpu-backend/served-request.ts";

async function* steps(pass: (ms: number) => void): AsyncGenerator<ChoiceEvent> {
  const told = [
    { type: "queued", promptTokens: 40, blocks: null },
    { type: "started", cachedTokens: 32, restoreMs: 0 },
    { type: "delta", text: "secret words", tokens: 2, logprobs: null },
    { type: "delta", text: "more", tokens: 3, logprobs: null },
    { type: "finished", reason: "stop", promptTokens: 40, cachedTokens: 32, outputTokens: 5, prefillMs: 1, decodeMs: 1, stopText: null },
  ] as ChoiceEvent["event"][];
  for (const event of told) {
    pass(100);
    yield { choice: 0, event };
  }
}

it("a request's line has its tokens, the time to its first token, and its end", async () => {
  let nowMs = 0;
  const watch = new RequestWatch("POST", "/v1/messages", () => nowMs);
  watch.model = "m";
  const seen = [];
  for await (const step of watch.follow(steps((ms) => (nowMs += ms)))) seen.push(step.event.type);
  expect(seen).toEqual(["queued", "started", "delta", "delta", "finished"]);
  const served = watch.served({ statusCode: 200, writableFinished: true });
  expect(served).toEqual({
    method: "POST",
    path: "/v1/messages",
    status: 200,
    model: "m",
    promptTokens: 40,
    cachedTokens: 32,
    outputTokens: 5,
    ttftMs: 300,
    ms: 500,
  });
  expect(JSON.stringify(served)).not.toContain("secret");
});

it("a status that followed in the body counts, and an answer that was cut is 499", () => {
  const watch = new RequestWatch("POST", "/v1/messages");
  watch.status = 400;
  expect(watch.served({ statusCode: 200, writableFinished: true }).status).toBe(400);
  expect(watch.served({ statusCode: 200, writableFinished: false }).status).toBe(499);
});
