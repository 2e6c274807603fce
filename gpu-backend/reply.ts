/** Writes one answer to the edge, streamed or whole. Whole SSE events only. */
import type { ServerResponse } from "node:http";
import { apiError } from "../src/errors.ts";
import type { AnswerHead } from "../src/wire/answer-event.ts";
import { APIS } from "../src/wire/apis.ts";
import type { InnerRequest } from "../src/wire/inner.ts";
import { WholeAnswer } from "../src/wire/whole-answer.ts";
import { type AnswerStep, answerSteps } from "./answer.ts";
import type { Acceptance } from "./acceptance.ts";
import { KeepAlive } from "./keep-alive.ts";
import type { Run } from "./replica.ts";

/** A session that waits for a tool's result keeps its prefix at least in the host tier for so long. */
const TOOL_WAIT_MS = 300_000;

interface Reply {
  request: InnerRequest;
  run: Run;
  head: AnswerHead;
  response: ServerResponse;
  acceptance: Acceptance;
  /** Keeps a whole answer before the client has its end, so that it can be asked for at once. */
  keep: (answer: WholeAnswer) => Promise<void>;
}

export async function reply(asked: Reply): Promise<void> {
  const { request, run, head, response, acceptance } = asked;
  response.on("close", () => run.cancel());
  // Gone while the engine took it: that event is over.
  if (response.destroyed) run.cancel();
  acceptance.begin(200, {
    "content-type": request.stream ? "text/event-stream; charset=utf-8" : "application/json",
    "cache-control": "no-cache",
  });
  response.flushHeaders();
  const keepAlive = new KeepAlive(response, request.stream);
  try {
    const given = { ...asked, steps: answerSteps(request, head, run), keepAlive };
    await (request.stream ? stream(given) : whole(given));
  } finally {
    keepAlive.end();
    run.cancel();
  }
}

type Given = Reply & { steps: AsyncIterable<AnswerStep>; keepAlive: KeepAlive };

/** Who asked for a tool comes back with its result. */
function awaited(step: AnswerStep, run: Run): void {
  if (step.type === "finished" && step.reason === "tool_calls") run.pin(TOOL_WAIT_MS);
}

/** Resolves when more may be written, or never will be. */
function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off("drain", done);
      response.off("close", done);
      resolve();
    };
    response.on("drain", done);
    response.on("close", done);
  });
}

async function whole({ request, run, head, response, keep, steps, keepAlive }: Given): Promise<void> {
  const answer = new WholeAnswer();
  for await (const step of steps) {
    // The edge takes a cut for a lost replica and asks another one.
    if (step.type === "lost") return void response.destroy();
    answer.add(step);
    awaited(step, run);
  }
  await keep(answer);
  keepAlive.end();
  response.end(JSON.stringify(APIS[request.api].whole(head, request, answer)));
}

async function stream({ request, run, head, response, keep, steps, keepAlive }: Given): Promise<void> {
  const writer = APIS[request.api].stream(head, request);
  const answer = new WholeAnswer();
  let first = true;
  for await (const step of steps) {
    if (step.type === "lost") {
      if (first) response.destroy();
      else response.end(writer.fail(apiError("replica_lost", step.message)));
      return;
    }
    answer.add(step);
    awaited(step, run);
    let text = "";
    if (first && step.type !== "started") {
      first = false;
      text = writer.open();
    }
    text += writer.event(step);
    // A response that is closed would never drain.
    if (response.destroyed) return;
    if (text === "") continue;
    keepAlive.wrote();
    if (!response.write(text)) await drained(response);
  }
  await keep(answer);
  keepAlive.end();
  response.end(writer.close());
}
