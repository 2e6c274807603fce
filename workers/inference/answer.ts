/** From a call to the client's answer, whole or streamed, over the loss of replicas. */
import { type ApiError, apiError } from "../../src/errors.ts";
import { errorOfBody } from "../../src/wire/envelope.ts";
import { HEADER } from "../../src/wire/headers.ts";
import { createdSecondsOf, lostAnswerEvents } from "../../src/wire/lost-answer.ts";
import { isJsonObject, jsonObjectOf } from "../json-answer.ts";
import { canStore, storageFull } from "../stored-response.ts";
import { type Attempt, Attempts } from "./attempts.ts";
import type { InferenceCall } from "./call.ts";
import { choosePools, type ChosenPools } from "./choose.ts";
import { forwardStream, readWhole } from "./forward.ts";
import { answerLate, answerLong, type Waiting, writeWhile } from "./late-answer.ts";
import { Patience } from "./patience.ts";
import type { Acceptance, Placed } from "./place.ts";

const MOST_ANSWER_BYTES = 16 * 1024 * 1024;
const encoder = new TextEncoder();
const PING = encoder.encode(": waiting\n\n");
const NOTHING = new Uint8Array();
const decoder = new TextDecoder();
const nowSeconds = (): number => Math.floor(Date.now() / 1_000);

/** The answer, or why there is none. Once the client has its headers, what goes wrong is said in the body, or cuts it. */
export async function answerCall(call: InferenceCall): Promise<Response | ApiError> {
  let end = (): void => call.ticker.stop();
  try {
    // Before anything is computed of what could not be kept.
    if (call.isStored && !(await canStore(call.here.env))) return storageFull();
    const chosen = await choosePools(call);
    if ("code" in chosen) return chosen;
    const patience = new Patience<Acceptance>(call.ticker);
    const attempts = new Attempts(call, chosen, (by) => patience.accepted(by));
    const ended = (): void => {
      attempts.prefilled(null);
      call.ticker.stop();
    };
    end = () => {
      patience.stop();
      ended();
    };
    const goOn = (by: Acceptance | null, writing: (writable: WritableStream<Uint8Array>) => Promise<void>): Response => {
      end = () => patience.stop();
      const long = { clientLeft: () => call.client.left(), end: ended, background: call.here.background };
      return answerLong(long, answerHeaders(call, attempts.chosen, by), writing);
    };
    const first = attempts.next();
    if (call.isStream) {
      const result = await Promise.race([first, patience.over]);
      const pumped = (writable: WritableStream<Uint8Array>): Promise<void> => pump(call, attempts, first, writable);
      if (result === undefined) return goOn(patience.by, pumped);
      if (result.type === "placed" && result.placed.answer.status === 200) return goOn(result.placed, pumped);
    }
    const answering = answerWhole(call, attempts, first);
    const answer = await Promise.race([answering, patience.over]);
    return answer ?? goOn(patience.by, (writable) => answerLate(waitingOf(call), answering, writable));
  } finally {
    end();
  }
}

const waitingOf = ({ ticker, client }: InferenceCall): Waiting => ({ ticker, clientLeft: () => client.left() });

/** `by` is null while the request still waits in line. What a replica calls its answer is not passed on: there are these two. */
function answerHeaders(call: InferenceCall, chosen: ChosenPools, by: Acceptance | null, status = 200): Record<string, string> {
  return {
    "content-type": call.isStream && status === 200 ? "text/event-stream; charset=utf-8" : "application/json",
    "cache-control": "no-cache",
    [HEADER.pool]: by?.pool ?? chosen.targets[0].pool,
    [HEADER.model]: chosen.model,
    ...(chosen.reason === null ? {} : { [HEADER.poolReason]: chosen.reason }),
    ...(by === null
      ? {}
      : {
          [HEADER.replica]: by.replica,
          [HEADER.cachedTokens]: String(by.cachedTokens),
          [HEADER.attempts]: String(by.tries),
        }),
  };
}

/** Waits until the whole answer is here, so that a lost replica can be replaced up to the last byte. */
async function answerWhole(call: InferenceCall, attempts: Attempts, first: Promise<Attempt>): Promise<Response | ApiError> {
  for (let attempt = await first; ; attempt = await attempts.next()) {
    if (attempt.type === "error") return attempt.error;
    const { placed } = attempt;
    const { status } = placed.answer;
    const body = await readAnswer(placed, call);
    // What no engine runs, no replica reports the end of: its place would stay taken for seconds. A prewarm is over, whether that was told yet or not.
    if (call.asked.work !== "generate" || status !== 200) await attempts.release(placed);
    if (body !== null) {
      attempts.prefilled(placed.pool);
      if (status === 200) attempts.answered(placed);
      return new Response(body, { status, headers: answerHeaders(call, attempts.chosen, placed, status) });
    }
    // Nobody reads this status; it is what the field's logs call a client that left.
    if (call.client.hasLeft) return new Response(null, { status: 499 });
    // What was stored by its replica is the answer: another replica would write a different one under the same id.
    const handedUp = await call.stored(attempts.chosen.id)?.read("response");
    if (typeof handedUp === "string") return new Response(handedUp, { headers: answerHeaders(call, attempts.chosen, placed) });
    attempts.lost(placed);
  }
}

/** In whole; null when its replica was lost on the way, or ended well what is no answer. */
async function readAnswer(placed: Placed, call: InferenceCall): Promise<Uint8Array | null> {
  const body = await readWhole(placed, call.ticker, MOST_ANSWER_BYTES);
  if (body === null || (call.isStream && placed.answer.status === 200)) return body;
  return isJsonObject(body) ? body : null;
}

/** Streams into `writable`; rejects only when the client has gone. */
async function pump(call: InferenceCall, attempts: Attempts, first: Promise<Attempt>, writable: WritableStream<Uint8Array>): Promise<void> {
  // A comment at every tick keeps proxies patient, and is how the edge learns that the client has gone.
  const pingWhile = (placing: Promise<Attempt>): Promise<Attempt> => writeWhile(waitingOf(call), placing, writable, PING);
  for (let attempt = await pingWhile(first); ; attempt = await pingWhile(attempts.next())) {
    if (attempt.type === "error") return endWithError(call, attempts.chosen, writable, attempt.error);
    const { placed } = attempt;
    if (placed.answer.status === 200) {
      const isOver = await pumpAnswer(call, attempts, placed, writable);
      if (isOver) return;
    } else {
      // The stream's headers have gone out already: what it refuses is said in the stream.
      const body = await readAnswer(placed, call);
      await attempts.release(placed);
      if (body !== null || call.client.hasLeft)
        return endWithError(call, attempts.chosen, writable, errorOfBody(jsonObjectOf(body ?? NOTHING)));
    }
    attempts.lost(placed);
  }
}

/** False: its replica was lost before the client had anything of it. */
async function pumpAnswer(call: InferenceCall, attempts: Attempts, placed: Placed, writable: WritableStream<Uint8Array>): Promise<boolean> {
  let createdS: number | null = null;
  const forwarded = await forwardStream(placed, call.ticker, writable, {
    begun: (first) => {
      createdS = createdSecondsOf(decoder.decode(first)) ?? nowSeconds();
      attempts.prefilled(placed.pool);
    },
    leaseAlive: () => attempts.leaseAlive(placed),
  });
  if (forwarded.type === "client_gone") return true;
  if (forwarded.type === "done") {
    attempts.answered(placed);
    await writable.close();
    return true;
  }
  if (!forwarded.contentSent) return false;
  const message = "The replica that wrote this answer was lost. What came before is good; ask again for the rest.";
  // It was the client that left if it can't be told.
  let isToBlame = false;
  try {
    await endWithError(call, attempts.chosen, writable, apiError("replica_lost", message), createdS);
    isToBlame = !call.client.hasLeft;
  } finally {
    await attempts.release(placed, isToBlame);
  }
  return true;
}

/** Ends whatever half event went out and says in the stream what happened, in the API's own events. `createdS`: of the answer that has begun. */
async function endWithError(
  { asked: { request } }: InferenceCall,
  { id, model }: ChosenPools,
  writable: WritableStream<Uint8Array>,
  error: ApiError,
  createdS: number | null = null,
): Promise<void> {
  const events = lostAnswerEvents({ request, requestId: id, model, createdS, nowS: nowSeconds() }, error);
  const writer = writable.getWriter();
  await writer.write(encoder.encode(`\n\n${events}`));
  await writer.close();
}
