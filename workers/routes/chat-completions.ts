import type { Context, Handler } from "hono";
import xxhash from "xxhash-wasm";
import { type ApiError, apiError } from "../../src/errors.ts";
import { chainOf, chainRoot, type Hash64 } from "../../src/prefix/chain.ts";
import { PromptEncoder } from "../../src/prefix/prompt-encoder.ts";
import { specFingerprint } from "../../src/prefix/segment.ts";
import type { DecideRequest, PoolCard } from "../../src/routing/dispatcher.ts";
import { HEADER } from "../../src/wire/headers.ts";
import { type ChatRequest, decodeJsonBody, parseChatRequest } from "../../src/wire/openai.ts";
import { answerHeaders, answerWhole, isEventStream, pump } from "../answer.ts";
import { type AppEnv, background, errorResponse } from "../context.ts";
import { type Job, place, type Placed, type PlaceResult } from "../place.ts";
import { keepCard, poolCard } from "../pool-card.ts";
import { readBody } from "../read-body.ts";
import { mintRequestId } from "../request-id.ts";

const MOST_BODY_BYTES = 8 * 1024 * 1024;
const STREAM_PATIENCE_MS = 10_000;

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

/** What `placing` comes to, or "waiting" when that takes longer. */
async function within(placing: Promise<PlaceResult>, ms: number): Promise<PlaceResult | "waiting"> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const patience = new Promise<"waiting">((resolve) => (timer = setTimeout(resolve, ms, "waiting")));
  const result = await Promise.race([placing, patience]);
  clearTimeout(timer);
  return result;
}

const unknownModel = (model: string): Response => {
  const message = `The model ${JSON.stringify(model.slice(0, 128))} does not exist here. GET /v1/models lists those that do.`;
  return errorResponse(apiError("model_not_found", message, "model"));
};

function answerStream(c: Context<AppEnv>, job: Job, placing: Promise<PlaceResult>, placed: Placed | null): Response {
  const { readable, writable } = new IdentityTransformStream();
  // Rejects only when the client has gone, and then nobody is left to tell.
  background(c)(pump(job, placing, writable).catch(() => placed?.cancel()));
  return new Response(readable, { headers: answerHeaders(job, placed) });
}

export const chatCompletions: Handler<AppEnv> = async (c) => {
  const arrivedAtMs = Date.now();
  const accepted = await accept(c);
  if ("code" in accepted) return errorResponse(accepted);
  const { model, stream } = accepted.request;
  let card = await cardOf(c, model);
  if (card === undefined) return unknownModel(model);
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
    const placing = place(job);
    // For so long a refusal can still be a real status; then a stream gets its headers and waits on with comments.
    const result = stream ? await within(placing, STREAM_PATIENCE_MS) : await placing;
    if (result === "waiting") return answerStream(c, job, placing, null);
    if (result.type === "error") return errorResponse(result.error, { [HEADER.requestId]: id });
    if (result.type === "placed") {
      const { placed } = result;
      return isEventStream(placed) ? answerStream(c, job, placing, placed) : answerWhole(job, placed);
    }
    keepCard(result.card);
    card = result.card;
  }
  return errorResponse(apiError("overloaded", "The pool is changing its hash spec. Try again."), {
    "retry-after": "1",
    [HEADER.requestId]: id,
  });
};
