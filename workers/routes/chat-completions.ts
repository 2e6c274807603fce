import type { Context, Handler } from "hono";
import xxhash from "xxhash-wasm";
import { type ApiError, apiError } from "../../src/errors.ts";
import { chainOf, chainRoot, type Hash64 } from "../../src/prefix/chain.ts";
import { PromptEncoder } from "../../src/prefix/prompt-encoder.ts";
import { specFingerprint } from "../../src/prefix/segment.ts";
import type { DecideRequest, FailedAttempt, PoolCard } from "../../src/routing/dispatcher.ts";
import { HEADER } from "../../src/wire/headers.ts";
import { type ChatRequest, decodeJsonBody, openaiErrorBody, parseChatRequest } from "../../src/wire/openai.ts";
import { type AppEnv, background, errorResponse } from "../context.ts";
import { type Forwarded, forwardStream, readWhole } from "../forward.ts";
import { type Job, place, type Placed } from "../place.ts";
import { keepCard, poolCard } from "../pool-card.ts";
import { readBody } from "../read-body.ts";
import { mintRequestId } from "../request-id.ts";

const MOST_BODY_BYTES = 8 * 1024 * 1024;
const MOST_ANSWER_BYTES = 16 * 1024 * 1024;

const xxh = await xxhash();
const hash64: Hash64 = (bytes, seed) => xxh.h64Raw(bytes, seed);
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });
const promptEncoder = new PromptEncoder(hash64);

interface Accepted {
  body: Uint8Array;
  request: ChatRequest;
}

async function accept(c: Context<AppEnv>): Promise<Accepted | ApiError> {
  const body = await readBody(c.req.raw, MOST_BODY_BYTES);
  if (body === null)
    return apiError("request_too_large", `The body is larger than ${MOST_BODY_BYTES / 1024 / 1024} MiB. Send a shorter prompt.`);
  const json = decodeJsonBody(body, decoder);
  if (!json.ok) return json.error;
  const parsed = parseChatRequest(json.value);
  return parsed.ok ? { body, request: parsed.request } : parsed.error;
}

async function cardOf(c: Context<AppEnv>, model: string): Promise<PoolCard | undefined> {
  for (const pool of c.get("config").pools) {
    const card = await poolCard(c.env, pool, background(c));
    if (card.model === model) return card;
  }
  return undefined;
}

function decideRequest(
  c: Context<AppEnv>,
  card: PoolCard,
  { body, request }: Accepted,
  id: string,
  arrivedAtMs: number,
): Omit<DecideRequest, "failed"> {
  const salt = c.get("config").saltOf(c.get("tenant"));
  const bytes = promptEncoder.encode(request.prompt, card.hashSpec.order);
  const root = chainRoot(hash64, { spec: card.hashSpec, model: request.model, adapter: null, salt });
  const chain = chainOf(hash64, root, bytes, card.hashSpec.schedule);
  return {
    id,
    tenant: c.get("tenant"),
    salt,
    fingerprint: specFingerprint(card.hashSpec),
    chain: chain.hashes,
    promptBytes: bytes.length,
    bodyBytes: body.byteLength,
    arrivedAtMs,
  };
}

function answerHeaders(job: Job, placed: Placed): Headers {
  return new Headers({
    "content-type": placed.response.headers.get("content-type") ?? "application/json",
    "cache-control": "no-cache",
    [HEADER.requestId]: job.decide.id,
    [HEADER.pool]: job.pool,
    [HEADER.replica]: placed.replica,
    [HEADER.cachedTokens]: String(placed.cachedTokens),
    [HEADER.attempts]: String(placed.attempt),
  });
}

/** Waits until the whole answer is here, so that a lost replica can be replaced up to the last byte. */
async function answerWhole(job: Job, first: Placed): Promise<Response> {
  let placed = first;
  const lost: FailedAttempt[] = [];
  for (;;) {
    const body = await readWhole(placed, MOST_ANSWER_BYTES);
    if (body !== null) return new Response(body, { status: placed.response.status, headers: answerHeaders(job, placed) });
    if (job.clientSignal.aborted) return new Response(null, { status: 499 });
    lost.push({ replica: placed.replica, attempt: placed.attempt });
    const again = await place(job, lost);
    if (again.type === "error") return errorResponse(again.error, { [HEADER.requestId]: job.decide.id });
    if (again.type === "stale_card") return errorResponse(apiError("replica_lost", "The pool changed its hash spec. Try again."));
    placed = again.placed;
  }
}

/** Ends whatever half event went out and says in the stream what happened. */
async function endWithError(writable: WritableStream<Uint8Array>, error: ApiError): Promise<void> {
  const writer = writable.getWriter();
  await writer.write(new TextEncoder().encode(`\n\ndata: ${JSON.stringify(openaiErrorBody(error))}\n\n`));
  await writer.close();
}

async function pump(job: Job, first: Placed, writable: WritableStream<Uint8Array>): Promise<void> {
  const pool = job.env.POOL.getByName(job.pool);
  let placed = first;
  const lost: FailedAttempt[] = [];
  for (;;) {
    const { attempt } = placed;
    const forwarded: Forwarded = await forwardStream(placed, writable, () => pool.leaseAlive(job.decide.id, attempt));
    if (forwarded.type === "done") return writable.close();
    if (forwarded.type === "client_gone") return;
    if (forwarded.contentSent) {
      await pool.release(job.decide.id, attempt);
      return endWithError(
        writable,
        apiError("replica_lost", "The replica that wrote this answer was lost. What came before is good; ask again for the rest."),
      );
    }
    lost.push({ replica: placed.replica, attempt });
    const again = await place(job, lost);
    if (again.type === "placed") {
      placed = again.placed;
      continue;
    }
    return endWithError(
      writable,
      again.type === "error" ? again.error : apiError("replica_lost", "The pool changed its hash spec. Try again."),
    );
  }
}

function answerStream(c: Context<AppEnv>, job: Job, placed: Placed): Response {
  const { readable, writable } = new IdentityTransformStream();
  // Rejects only when the client has gone, and then nobody is left to tell.
  background(c)(pump(job, placed, writable).catch(() => placed.cancel()));
  return new Response(readable, { headers: answerHeaders(job, placed) });
}

export const chatCompletions: Handler<AppEnv> = async (c) => {
  const arrivedAtMs = Date.now();
  const accepted = await accept(c);
  if ("code" in accepted) return errorResponse(accepted);
  const { model, stream } = accepted.request;
  let card = await cardOf(c, model);
  if (card === undefined)
    return errorResponse(
      apiError(
        "model_not_found",
        `The model ${JSON.stringify(model.slice(0, 128))} does not exist here. GET /v1/models lists those that do.`,
        "model",
      ),
    );
  const id = mintRequestId(card.pool);
  for (let tries = 0; tries < 2; tries++) {
    const job: Job = {
      env: c.env,
      pool: card.pool,
      path: "/v1/chat/completions",
      body: accepted.body,
      stream,
      decide: decideRequest(c, card, accepted, id, arrivedAtMs),
      clientSignal: c.req.raw.signal,
    };
    const result = await place(job);
    if (result.type === "error") return errorResponse(result.error, { [HEADER.requestId]: id });
    if (result.type === "placed") {
      const { placed } = result;
      const isStream = placed.response.headers.get("content-type")?.startsWith("text/event-stream") === true;
      return isStream ? answerStream(c, job, placed) : answerWhole(job, placed);
    }
    keepCard(result.card);
    card = result.card;
  }
  return errorResponse(apiError("overloaded", "The pool is changing its hash spec. Try again."), {
    "retry-after": "1",
    [HEADER.requestId]: id,
  });
};
