/** From a placed request to the client's answer, whole or streamed, over the loss of replicas. */
import { type ApiError, apiError } from "../../src/errors.ts";
import { HEADER } from "../../src/wire/headers.ts";
import { errorOfBody } from "../../src/wire/envelope.ts";
import { createdSecondsOf, lostAnswerEvents } from "../../src/wire/lost-answer.ts";
import { forwardStream, readWhole } from "./forward.ts";
import { isJsonObject, jsonObjectOf } from "../json-answer.ts";
import { writeWhile } from "./late-answer.ts";
import { type Acceptance, type Job, type LostAttempt, place, type Placed, type PlaceResult, requestIdOf } from "./place.ts";
import { poolStub } from "../pool-stub.ts";

const MOST_ANSWER_BYTES = 16 * 1024 * 1024;
const encoder = new TextEncoder();
const PING = encoder.encode(": waiting\n\n");
const NOTHING = new Uint8Array();
const decoder = new TextDecoder();
const nowSeconds = (): number => Math.floor(Date.now() / 1_000);

const staleCard = (): ApiError => apiError("replica_lost", "The pool changed its hash spec meanwhile. Ask again.");
const errorOf = (result: Exclude<PlaceResult, { type: "placed" }>): ApiError => (result.type === "error" ? result.error : staleCard());

/** `accepted` is null while the request still waits in line. What a replica calls its answer is not passed on: there are these two. */
export function answerHeaders(job: Job, accepted: Acceptance | null, status = 200): Headers {
  const headers = new Headers({
    "content-type": job.stream && status === 200 ? "text/event-stream; charset=utf-8" : "application/json",
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
    const { status } = placed.answer;
    const body = await readAnswer(placed, job);
    // What no engine runs, no replica reports the end of: its place would stay taken for seconds. A prewarm is over, whether that was told yet or not.
    if (job.work !== "generate" || status !== 200) await poolStub(job.env, placed.pool).release(requestIdOf(job), placed.attempt);
    if (body !== null) job.prefilled(placed.pool);
    if (body !== null && status === 200) job.edge.noteAnswered(placed.pool, placed);
    if (body !== null) return new Response(body, { status, headers: answerHeaders(job, placed, status) });
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

/** In whole; null when its replica was lost on the way, or ended well what is no answer. */
async function readAnswer(placed: Placed, job: Job): Promise<Uint8Array | null> {
  const body = await readWhole(placed, job.ticker, MOST_ANSWER_BYTES);
  if (body === null || (job.stream && placed.answer.status === 200)) return body;
  return isJsonObject(body) ? body : null;
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
    if (placed.answer.status !== 200) {
      // The stream's headers have gone out already: what it refuses is said in the stream.
      const body = await readAnswer(placed, job);
      await pool.release(id, attempt);
      if (body !== null || job.clientSignal.aborted) return endWithError(job, writable, errorOfBody(jsonObjectOf(body ?? NOTHING)));
      lost.push({ pool: placed.pool, replica, epoch, attempt });
      result = await pingWhile(job, place(job, lost), writable);
      continue;
    }
    let createdS: number | null = null;
    const forwarded = await forwardStream(placed, job.ticker, writable, {
      begun: (first) => {
        createdS = createdSecondsOf(decoder.decode(first)) ?? nowSeconds();
        job.prefilled(placed.pool);
      },
      leaseAlive: () => pool.leaseAlive(id, attempt),
    });
    if (forwarded.type === "done") {
      job.edge.noteAnswered(placed.pool, placed);
      return writable.close();
    }
    if (forwarded.type === "client_gone") return;
    if (forwarded.contentSent) {
      const message = "The replica that wrote this answer was lost. What came before is good; ask again for the rest.";
      // It was the client that left if it can't be told.
      let isToBlame = false;
      try {
        await endWithError(job, writable, apiError("replica_lost", message), createdS);
        isToBlame = !job.clientSignal.aborted;
      } finally {
        await pool.release(id, attempt, isToBlame);
      }
      return;
    }
    lost.push({ pool: placed.pool, replica, epoch, attempt });
    result = await pingWhile(job, place(job, lost), writable);
  }
}

/** A comment at every tick keeps proxies patient, and is how the edge learns that the client has gone. */
const pingWhile = (job: Job, placing: Promise<PlaceResult>, writable: WritableStream<Uint8Array>): Promise<PlaceResult> =>
  writeWhile(job, placing, writable, PING);

/** Ends whatever half event went out and says in the stream what happened, in the API's own events. `createdS`: of the answer that has begun. */
async function endWithError(
  job: Job,
  writable: WritableStream<Uint8Array>,
  error: ApiError,
  createdS: number | null = null,
): Promise<void> {
  const { request, model } = job;
  const events = lostAnswerEvents({ request, requestId: requestIdOf(job), model, createdS, nowS: nowSeconds() }, error);
  const writer = writable.getWriter();
  await writer.write(encoder.encode(`\n\n${events}`));
  await writer.close();
}
