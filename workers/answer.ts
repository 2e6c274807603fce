/** From a placed request to the client's answer, whole or streamed, over the loss of replicas. */
import { type ApiError, apiError } from "../src/errors.ts";
import { HEADER } from "../src/wire/headers.ts";
import { errorBody, errorOfBody } from "../src/wire/envelope.ts";
import { forwardStream, readWhole } from "./forward.ts";
import { writeWhile } from "./late-answer.ts";
import { type Acceptance, type Job, type LostAttempt, place, type Placed, type PlaceResult, requestIdOf } from "./place.ts";
import { poolStub } from "./pool-stub.ts";
import type { Ticker } from "./ticker.ts";

const MOST_ANSWER_BYTES = 16 * 1024 * 1024;
const encoder = new TextEncoder();
const PING = encoder.encode(": waiting\n\n");

const staleCard = (): ApiError => apiError("replica_lost", "The pool changed its hash spec meanwhile. Ask again.");
const errorOf = (result: Exclude<PlaceResult, { type: "placed" }>): ApiError => (result.type === "error" ? result.error : staleCard());

/** `accepted` is null while the request still waits in line; `contentType` before the replica has said what it is. */
export function answerHeaders(job: Job, accepted: Acceptance | null, contentType: string | null = null): Headers {
  const headers = new Headers({
    "content-type": contentType ?? (job.stream ? "text/event-stream; charset=utf-8" : "application/json"),
    "cache-control": "no-cache",
    [HEADER.pool]: accepted?.pool ?? job.targets[0].pool,
    [HEADER.model]: job.model,
  });
  if (job.reason !== null) headers.set(HEADER.poolReason, job.reason);
  if (accepted === null) return headers;
  headers.set(HEADER.replica, accepted.replica);
  headers.set(HEADER.cachedTokens, String(accepted.cachedTokens));
  headers.set(HEADER.attempts, String(accepted.tries));
  return headers;
}

/** Waits until the whole answer is here, so that a lost replica can be replaced up to the last byte. */
export async function answerWhole(job: Job, first: Placed): Promise<Response | ApiError> {
  let placed = first;
  const lost: LostAttempt[] = [];
  // One of several that are answered as one does not end with the client's connection by itself.
  job.clientSignal.addEventListener("abort", () => placed.cancel());
  for (;;) {
    if (job.clientSignal.aborted) placed.cancel();
    const body = await readWhole(placed, job.ticker, MOST_ANSWER_BYTES);
    // What no engine runs, no replica reports the end of: its place would stay taken for seconds. A prewarm is over, whether that was told yet or not.
    const { status, contentType } = placed.answer;
    if (job.work !== "generate" || status !== 200) await poolStub(job.env, placed.pool).release(requestIdOf(job), placed.attempt);
    if (body !== null) job.prefilled(placed.pool);
    if (body !== null) return new Response(body, { status, headers: answerHeaders(job, placed, contentType) });
    // Nobody reads this status; it is what the field's logs call a client that left.
    if (job.clientSignal.aborted) return new Response(null, { status: 499 });
    // What was handed up is the answer: another replica would write a different one under the same id.
    const handedUp = await job.stored?.read("response");
    if (typeof handedUp === "string") return new Response(handedUp, { headers: answerHeaders(job, placed) });
    lost.push({ pool: placed.pool, replica: placed.replica, epoch: placed.epoch, attempt: placed.attempt });
    const again = await place(job, lost);
    if (again.type !== "placed") return errorOf(again);
    placed = again.placed;
  }
}

/** Streams into `writable`; rejects only when the client has gone. */
export async function pump(job: Job, placing: Promise<PlaceResult>, writable: WritableStream<Uint8Array>): Promise<void> {
  const id = requestIdOf(job);
  const lost: LostAttempt[] = [];
  let result = await pingWhile(job, placing, writable);
  for (;;) {
    if (result.type !== "placed") return endWithError(job, writable, errorOf(result));
    const { placed } = result;
    const { attempt, replica, epoch } = placed;
    const pool = poolStub(job.env, placed.pool);
    if (!isEventStream(placed)) {
      await pool.release(id, attempt);
      return endWithError(job, writable, await refusalOf(placed, job.ticker));
    }
    const forwarded = await forwardStream(placed, job.ticker, writable, {
      begun: () => job.prefilled(placed.pool),
      leaseAlive: () => pool.leaseAlive(id, attempt),
    });
    if (forwarded.type === "done") return writable.close();
    if (forwarded.type === "client_gone") return;
    if (forwarded.contentSent) {
      await pool.release(id, attempt);
      const message = "The replica that wrote this answer was lost. What came before is good; ask again for the rest.";
      return endWithError(job, writable, apiError("replica_lost", message));
    }
    lost.push({ pool: placed.pool, replica, epoch, attempt });
    result = await pingWhile(job, place(job, lost), writable);
  }
}

export const isEventStream = (placed: Placed): boolean => placed.answer.contentType.startsWith("text/event-stream");

/** A comment at every tick keeps proxies patient, and is how the edge learns that the client has gone. */
const pingWhile = (job: Job, placing: Promise<PlaceResult>, writable: WritableStream<Uint8Array>): Promise<PlaceResult> =>
  writeWhile(job, placing, writable, PING);

/** What the replica said instead of a stream, when the stream's headers have gone out already. */
async function refusalOf(placed: Placed, ticker: Ticker): Promise<ApiError> {
  const body = await readWhole(placed, ticker, MOST_ANSWER_BYTES);
  return errorOfBody(jsonOf(body));
}

function jsonOf(body: Uint8Array | null): unknown {
  try {
    return JSON.parse(Buffer.from(body ?? []).toString());
  } catch {
    return null;
  }
}

/** Ends whatever half event went out and says in the stream what happened, in the API's own event. */
async function endWithError(job: Job, writable: WritableStream<Uint8Array>, error: ApiError): Promise<void> {
  const writer = writable.getWriter();
  await writer.write(encoder.encode(`\n\n${errorEvent(job, error)}`));
  await writer.close();
}

function errorEvent(job: Job, error: ApiError): string {
  const { api } = job;
  const body = errorBody(api, error, requestIdOf(job));
  if (api === "messages") return `event: error\ndata: ${JSON.stringify(body)}\n\n`;
  if (api !== "responses") return `data: ${JSON.stringify(body)}\n\n`;
  // The numbers of the events before were not read; clients take this one by its type.
  const event = { type: "error", code: error.code, message: error.message, param: error.param, sequence_number: 0 };
  return `event: error\ndata: ${JSON.stringify(event)}\n\n`;
}
